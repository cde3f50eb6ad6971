"""Find numbers that only the words before them give away (passports, licences, accounts, patients) and dates of birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.rules import Rule, make_rule
from promptmill.redaction.spans import RedactionType, Span

_MAX_REACH = 72
_MAX_WORDS_BETWEEN = 7
_MAX_LENGTH = 30
_PIECE = re.compile(r"[A-Za-z0-9*#][\w\-./*]*")
_BREAK = re.compile(r"[.!?;\n\0](?:\s|\Z)|[\n\0]")
_MASKED = re.compile(r"(?:[xX*#]{2,}[\-. /]?){1,4}[A-Za-z0-9\-]{0,8}")
_DATE = re.compile(r"\d{4}[./\-]\d{1,2}[./\-]\d{1,2}|\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{1,2}:\d\d(?::\d\d)?")
_GROUPED = re.compile(r"(?: [A-Z0-9]{2,6}(?![a-z])){1,8}")
_AMOUNT_BEFORE = re.compile(r"[$€£¥₹]\s?$")
_NOT_A_NUMBER = re.compile(
    r"(?i)(?:19|20)\d\d|\d+(?:st|nd|rd|th|am|pm|px|kb|mb|gb|years?|days?|hours?|mins?|%)|v\d.*|[\d,]+\.\d\d"
)
_CONNECTING = frozenset(
    """
    a an and are as at attempt attempts belonging card code copy data detail details dated ending exposed for from
    field file found given has have her his holder id ids in info information is issued its linked licence license
    listed named nr no num number numbers of on or our over read reads recorded reference reg registered
    registration renewal returned s scan shown state tax the their this to under up was were which with xx your you
    value document valid new old stored account expired expires us uk and/or plate called equals matching
    """.split()  # noqa: SIM905 (a word a line would fill a page)
)


class Named(Struct, frozen=True):
    """Words that announce a number, and what the number is made of.

    Attributes:
        digits: the least number of digits.
        length: the least number of characters.
    """

    name: str
    type: RedactionType
    words: str
    digits: int = 4
    length: int = 5
    score: float = 0.75


NAMED = (
    Named("passport_named", "passport", r"\bpass?port|reisepass|pasaporte|passeport|passaporto|paszport", 4, 6),
    Named(
        "licence_named",
        "driving_licence",
        r"\bdriv(?:er|ing|ers)?'?s?'?(?: \xe9|\xa7s|\xe9s)? ?licen[cs]e|\bdl ?(?:no|number|#|:)|licen[cs]e (?:number|no|#|id)\b|führerschein|f\xfchrerschein|permis de conduire|patente|\bd[rl]iver.?s licen",
        4,
    ),
    Named("account_named", "bank_account", r"\b(?:bank |checking |savings? |credit )?(?:account|acct|a/c|konto)(?: ?(?:no|nr|num|number|id|details?))?\b|\bacc(?:num)?:|kontonummer|\bsort.?code|\bbsb\b|\bswift\b", 5, 6, 0.7),
    Named("routing_named", "routing_number", r"\brouting|\baba (?:no|num|rout)|\bbsb\b|\bsort.?code|\bifsc\b", 6, 6),
    Named("medical_named", "medical_id", r"\b(?:mrn|medical (?:record|file|id)|patient (?:id|no|num)|health (?:card|insurance|plan|id)|insurance (?:number|no|id|code|policy|card)|policy ?holder|policy (?:number|no)|member(?:ship)? (?:id|number)|medicare|medicaid|nhs|beneficiary (?:id|number)|versichertennummer|krankenkasse|chart (?:no|number)|prescription (?:no|number|id)|npi|dea)\b", 4, 5),
    Named("national_named", "national_id", r"\b(?:national (?:id|identity|insurance|identification)\w*|identity (?:card|number|document)|identification (?:number|no)|id card|id (?:number|no)|ssn|social security|social insurance|aadh?aa?r|pan(?: card)?(?: number| no)|pan '|voter id|nino|nric|cpf|curp|dni|nie|nif|pesel|bsn|cnp|hetu|personnummer|personalausweis|ausweis\w*|codice fiscale|carta d'identit\w*|cedula|rut|rg)\b", 4, 6, 0.7),
    Named("tax_named", "tax_id", r"\b(?:tax(?:payer)? (?:id|ident|no|num|ref)\w*|tin|ein|itin|atin|vat(?: (?:id|no|number|reg))?|ust\.?-?id\w*|id-?nr|steuer\w*|gstin?|siret|siren|cnpj|cuit|utr|abn|acn|tfn|partita iva|num\xe9ro fiscal)\b", 5, 6, 0.7),
    Named("pan_named", "tax_id", r"\bpan(?: card)?(?: (?:number|no))?\b", 3, 9, 0.7),
    Named("account_end_named", "bank_account", r"\baccount[a-z ]{0,24}ending (?:with|in)\b", 3, 3, 0.6),
    Named("person_number_named", "national_id", r"\b(?:user|employee|customer|client|student|staff|tribal|badge|member) id\b", 4, 4, 0.45),
    Named("vehicle_named", "national_id", r"\b(?:vin|license plate|licence plate|number plate|plate (?:number|no)|kennzeichen|vehicle (?:registration|reg))\b", 2, 5, 0.6),
)  # fmt: skip


def _make_named_rule(kind: Named) -> Rule:
    pattern = f"(?i){kind.words}"

    def find(folded: FoldedText) -> Iterator[Span]:
        reached = 0
        for start, end in folded.find_spans(pattern):
            if start < reached:
                continue
            value = _find_value(folded.text, end, kind)
            if value is not None:
                reached = value[1]
                yield Span(value[0], value[1], kind.type, kind.score, kind.name)

    return Rule(pattern, find)


def _find_value(text: str, at: int, kind: Named) -> tuple[int, int] | None:
    """Return the first number behind the words that end at ``at``, or None.

    It stands in the same sentence, with only small words between.
    """
    limit, words = at + _MAX_REACH, 0
    done = at
    for piece in _PIECE.finditer(text, at, limit):
        if _BREAK.search(text, done, piece.start()) or words > _MAX_WORDS_BETWEEN:
            return None
        value = piece[0].rstrip("./-_")
        if _is_value(value, kind):
            end = piece.start() + len(value)
            if _AMOUNT_BEFORE.search(text[max(0, piece.start() - 2) : piece.start()]):
                return None
            return piece.start(), _extend_by_groups(text, end, value)
        if value.lower() not in _CONNECTING and not value[:1].isupper() and not value.isupper():
            words += 2
        words, done = words + 1, piece.end()
    return None


def _is_value(piece: str, kind: Named) -> bool:
    if len(piece) > _MAX_LENGTH:
        return False
    if _MASKED.fullmatch(piece) and len(piece) >= 6:  # noqa: PLR2004 (XX-XX12)
        return True
    digits = sum(map(str.isdigit, piece))
    return (
        digits >= kind.digits
        and len(piece) >= kind.length
        and "/" not in piece.strip("/")
        and not _NOT_A_NUMBER.fullmatch(piece)
        and not _DATE.fullmatch(piece)
    )


def _extend_by_groups(text: str, end: int, value: str) -> int:
    """Return the end of a number with its further groups, as in ``12-34-56 1234 5678``."""
    groups = _GROUPED.match(text, end, end + 40) if value.isupper() or value.isdigit() else None
    if groups is None or not any(map(str.isdigit, groups[0])):
        return end
    kept = groups[0]
    while kept and not any(map(str.isdigit, kept.rsplit(" ", 1)[-1])):
        kept = kept.rpartition(" ")[0]
    return end + len(kept)


_MONTH = r"(?:jan|[fg]en|feb|f[eé]v|m[aäå]r|apr|abr|avr|ma[giyj]|ju[ilnï]|giu|lug|aug|ago|ao[uû]|sep|set|o[ckt]t|out|nov|d[eé][cz]|dic|ene)[a-zéûäç]*\.?"
_BORN = (
    r"(?i)\b(?:dob|d\.o\.b\.?|birth ?(?:date|day)|date of birth|born(?: on| in)?|birth|geburtsdatum|geboren|geb\.|n\xe9e? le"
    r"|fecha de nacimiento|nacid[oa]|data di nascita|nat[oa] il|data de nascimento|geboortedatum|f\xf8dt|f\xf6dd)"
)
_BIRTHDAY = re.compile(
    r"[^\w\n]{0,6}(?:[a-zA-Z]{1,12}[ :]{1,3}){0,3}[\"']?"
    r"(\d{1,4}[./\-] ?\d{1,2}[./\-] ?\d{2,4}|\d{1,2}(?:st|nd|rd|th)?\.? (?:of )?"
    + _MONTH
    + r",? \d{2,4}|"
    + _MONTH
    + r" \d{1,2}(?:st|nd|rd|th)?,? \d{2,4}|(?:19|20)\d{6}|(?:19|20)\d\d\b|(?:0?[1-9]|1[0-2])/\d{4})",
    re.IGNORECASE,
)


def find_birthdays(folded: FoldedText) -> Iterator[Span]:
    for _, end in folded.find_spans(_BORN):
        match = _BIRTHDAY.match(folded.text, end)
        if match:
            yield Span(match.start(1), match.end(1), "date_of_birth", 0.8, "birthday")


_IBAN = r"(?i)\biban\b[^\w\n]{0,4}(?:[a-z]{1,10} ){0,3}[\"']?([A-Z]{2}\d{2}[ A-Z0-9]{6,32}[A-Z0-9])"


def _two_digits(folded: FoldedText, start: int, end: int) -> bool:
    return sum(map(str.isdigit, folded.text[start:end])) > 3  # noqa: PLR2004 (more than check digits and a word)


_SORT_CODE = r"(?i)\bsort.?code\b[^\w\n]{0,4}(?:is |no\.? |number )?(\d\d[ \-]\d\d[ \-]\d\d)\b"

DOCUMENT_RULES = (
    make_rule("sort_code", "bank_account", _SORT_CODE, 0.75, _two_digits, group=1),
    *map(_make_named_rule, NAMED),
    Rule(_BORN, find_birthdays),
    make_rule("iban_named", "iban", _IBAN, 0.7, _two_digits, group=1),
)
