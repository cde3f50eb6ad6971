"""Find payment cards, IBANs and wallets of cryptocurrencies by their shape and check digits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from promptmill.redaction.patterns.check_digits import luhn, mod_97
from promptmill.redaction.patterns.folded_text import FoldedText, is_among_numbers, is_only_a_number
from promptmill.redaction.patterns.rules import Rule, make_rule
from promptmill.redaction.spans import Span

_DIGIT_RUN = r"\d(?:[ .\-]{0,2}\d){11,}"
_GROUP = re.compile(r"\d+")
_CARD_LENGTHS = range(12, 20)
_MAX_GROUPS = 5
_CARD_CONTEXT = re.compile(r"(?:card|credit|debit|visa|master ?card|amex|\bcc\b)[^\n]{0,30}$", re.IGNORECASE)
_CARD_PREFIX = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa: 13, 16, 19
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}(?:\d{2,5})?"  # Diners Club
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|62\d{14,17}"  # Discover, UnionPay
    r"|35\d{14}|(?:1800|2131)\d{11}"  # JCB
    r"|220[0-4]\d{12,15}|9792\d{12}|(?:60|81|82|508\d)\d{12,14}"  # Mir, Troy, RuPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3]|0604)\d{8,15}"  # Maestro
)
_MAESTRO_PREFIX = re.compile(r"(?:5[06-8]|6\d)\d{10,17}")

_MIN_BARE_MAESTRO = 16
_PROSE_BEFORE = re.compile(r"(?<![\d\W])[a-z]{2,}[,:]? (?:and )?$")
_PROSE_AFTER = re.compile(r"(?:[ \n][^\n]?|[.,;!?][ \n]?)?")

_IBAN_HEAD = r"[A-Za-z]{2}\d{2}[ \-]?[A-Za-z0-9]{2}"
_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {country: length for length, names in _IBAN_COUNTRIES.items() for country in names.split()}


def find_cards(folded: FoldedText) -> Iterator[Span]:
    for start, end in folded.find_spans(_DIGIT_RUN):
        if is_only_a_number(folded, start, end):
            continue
        groups = [(start + m.start(), start + m.end()) for m in _GROUP.finditer(folded.text[start:end])]
        if folded.stands_alone(start, end):
            yield from _find_cards_in(folded, groups)


def _find_cards_in(folded: FoldedText, groups: Sequence[tuple[int, int]]) -> Iterator[Span]:
    first = 0
    while first < len(groups):
        last = _find_card_end(folded, groups, first)
        if last is None:
            first += 1
            continue
        yield Span(groups[first][0], groups[last][1], "card", 0.95, "card")
        first = last + 1


def _find_card_end(folded: FoldedText, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """Return the last group of the longest card number that starts with group ``first``, or None."""
    digits, found = "", None
    for last in range(first, min(first + _MAX_GROUPS, len(groups))):
        start, end = groups[last]
        digits += folded.text[start:end]
        if len(digits) > _CARD_LENGTHS.stop:
            break
        if len(digits) in _CARD_LENGTHS and _is_card(digits, folded, groups[first][0], last - first):
            found = last
        if end - start < 4:  # noqa: PLR2004 (only the last group of a card number is shorter than four)
            break
    return found


def _is_card(digits: str, folded: FoldedText, start: int, separators: int) -> bool:
    known, checked = _CARD_PREFIX.fullmatch(digits), luhn(digits)
    if known and checked and (separators or not is_among_numbers(folded, start, start + len(digits))):
        return len(set(digits)) > 1
    in_fours = separators == 3 and len(digits) == 16  # noqa: PLR2004
    maestro = checked and _MAESTRO_PREFIX.fullmatch(digits) is not None
    if not (known and in_fours) and not maestro:
        return False
    if maestro and len(digits) >= _MIN_BARE_MAESTRO and _stands_in_a_sentence(folded, start, start + len(digits)):
        return True
    return _CARD_CONTEXT.search(folded.text_before(start, 40)) is not None


def _stands_in_a_sentence(folded: FoldedText, start: int, end: int) -> bool:
    before, after = folded.text_before(start, 40), folded.text[end : end + 2]
    return _PROSE_BEFORE.search(before) is not None and _PROSE_AFTER.fullmatch(after) is not None


def find_ibans(folded: FoldedText) -> Iterator[Span]:
    for start, _ in folded.find_spans(_IBAN_HEAD):
        length = _IBAN_LENGTHS.get(folded.text[start : start + 2].upper())
        end = _find_end(folded.text, start, length) if length else None
        if end is not None and folded.stands_alone(start, end) and is_iban(folded.text[start:end]):
            yield Span(start, end, "iban", 0.95, "iban")


def _find_end(text: str, start: int, length: int) -> int | None:
    """Return where ``length`` letters and digits end, with at most one separator between two, or None."""
    left, separated = length, False
    for at in range(start, min(len(text), start + 2 * length)):
        char = text[at]
        if char.isascii() and char.isalnum():
            left, separated = left - 1, False
        elif separated or char not in " -.\n":
            return None
        else:
            separated = True
        if not left:
            return at + 1
    return None


def is_iban(iban: str) -> bool:
    plain = "".join(char for char in iban.upper() if char.isalnum())
    return mod_97(plain[4:] + plain[:4])


ACCOUNT_RULES = (
    Rule(r"[A-Za-z]{2}\d{2}[ \-]?[A-Za-z0-9]{2}", find_ibans),
    Rule(_DIGIT_RUN, find_cards),
)


_BASE_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH_32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_ADDRESS_BYTES = 25


def _is_base58(folded: FoldedText, start: int, end: int) -> bool:
    number = 0
    for char in folded.text[start:end]:
        number = number * 58 + _BASE_58.index(char)
    if number.bit_length() > 8 * _ADDRESS_BYTES:
        return False
    payload = number.to_bytes(_ADDRESS_BYTES, "big")
    return hashlib.sha256(hashlib.sha256(payload[:-4]).digest()).digest()[:4] == payload[-4:]


def _is_bech32(folded: FoldedText, start: int, end: int) -> bool:
    prefix, _, data = folded.text[start:end].lower().rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH_32.find(c) for c in data]
    if -1 in values:
        return False
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> place & 1 else 0
    return checksum in (1, 0x2BC830A3)


def _stands_alone(folded: FoldedText, start: int, end: int) -> bool:
    return len(set(folded.text[start + 2 : end].lower())) > 6  # noqa: PLR2004 (0x000…)


WALLET_RULES = (
    make_rule("bitcoin", "crypto_wallet", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 0.95, _is_base58),
    make_rule("bech32", "crypto_wallet", r"\b(?:bc1|tb1|ltc1|BC1)[02-9A-Za-z]{11,87}\b", 0.95, _is_bech32),
    make_rule("ethereum", "crypto_wallet", r"\b0x[0-9a-fA-F]{40}\b", 0.8, _stands_alone),
    make_rule("tron", "crypto_wallet", r"\bT[1-9A-HJ-NP-Za-km-z]{33}\b", 0.95, _is_base58),
    make_rule("litecoin", "crypto_wallet", r"\b[LMD][1-9A-HJ-NP-Za-km-z]{32,33}\b", 0.95, _is_base58),
)
