"""Identity numbers with letters in them, by their shape: A stands for a letter, 9 for a digit."""

from __future__ import annotations

import re
from collections.abc import Callable

from promptmill.redaction.patterns import letter_checks as check
from promptmill.redaction.patterns.check_digits import is_date, mrz
from promptmill.redaction.patterns.number_checks import chinese
from promptmill.redaction.patterns.number_ids import NumberId, Proof
from promptmill.redaction.spans import RedactionType


def _matches(pattern: str) -> Callable[[str], bool]:
    expression = re.compile(pattern)
    return lambda text: expression.fullmatch(text) is not None


_DIGITS_OF_A_DOCUMENT = 4
_MBI = "[AC-HJKMNP-RT-Y]"


def _kind(
    name: str,
    kind: RedactionType,
    valid: Callable[[str], bool],
    words: str,
    proof: Proof = "check",
) -> NumberId:
    return NumberId(name, kind, valid, words, (), proof)


_NIF = _kind("nif_es", "national_id", check.spanish, r"\bnif\b|\bdni\b|\bnie\b", "strong")
_VAT = _kind(
    "vat_eu", "tax_id", check.eu_vat, r"\bvat\b|ust|tax\w* (?:id|number|no)|\btva\b|\biva\b|\bbtw\b", "context"
)
_UEN = _kind("uen_sg", "tax_id", check.uen, r"\buen\b", "strong")
_PASSPORT_DE = _kind("passport_de", "passport", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and mrz(t), r"pass")
_ANY_PASSPORT = _kind("passport", "passport", lambda _: True, r"pass", "context")
_PAN = _matches(r"[A-Z]{3}[ABCFGHJLPTN][A-Z]\d{4}[A-Z]")
_PPS = _kind("pps_ie", "national_id", check.pps, r"\bpps")
_CURP = r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"

SHAPES: dict[str, tuple[NumberId, ...]] = {
    "AA999999A": (_kind("nino_gb", "national_id", check.nino, r"\bnino?\b|\bni (?:no|num)|national insurance", "strong"), _ANY_PASSPORT),
    "99999999A": (_NIF, _UEN, _kind("patient", "medical_id", lambda _: True, r"\bmrn\b", "context")),
    "9999999A": (_NIF, _PPS),
    "9999999AA": (_PPS, _kind("id_card_it", "national_id", lambda _: True, r"carta d|identit", "context")),
    "A9999999A": (
        _NIF,
        _kind("nric_sg", "national_id", check.singapore, r"nric|\bfin\b|singapore", "strong"),
        _kind("company_es", "tax_id", check.spanish_company, r"\bcif\b|\bnif\b"),
    ),
    "A99999999": (
        _PASSPORT_DE,
        _kind("company_es", "tax_id", check.spanish_company, r"\bcif\b|\bnif\b", "context"),
        _kind("passport_kr", "passport", lambda t: t[0] in "MSRODG", r"passport|여권"),
        _ANY_PASSPORT,
    ),
    "A9999999": (
        _kind("passport_in", "passport", lambda t: t[0] in "ABCDEFGHJKLMNPRSTUVWXYZ" and t[1] != "0" and t[-1] != "0", "pass"),
    ),
    "A999A9999": (_kind("passport_kr", "passport", lambda t: t[0] in "MSRODG", r"passport|여권"),),
    "AAAAAA99A99A999A": (_kind("codice_fiscale_it", "national_id", lambda t: t[8] in "ABCDEHLMPRST", r"fiscale", "strong"),),
    "999999999A": (_UEN, _kind("nic_lk", "national_id", lambda t: t[-1] in "VX", r"\bnic\b", "context")),
    "A99AA9999A": (_UEN,),
    "AAAAA9999A": (_kind("pan_in", "tax_id", _PAN, r"\bpan\b|permanent account", "strong"),),
    "99AAAAA9999A9A9": (_kind("gstin_in", "tax_id", check.gstin, r"gst", "strong"),),
    "99AAAAA9999A9AA": (_kind("gstin_in", "tax_id", check.gstin, r"gst", "strong"),),
    "AA99AA9999": (_kind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate", "strong"),),
    "AA99A9999": (_kind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate"),),
    "AA9A9999": (_kind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate", "context"),),
    "AAA9999": (_kind("plate_old_in", "national_id", lambda t: t[0] in "MDKGWTUPRABHOJ", r"registration|vehicle|plate"),),
    "AAA9999999": (_kind("voter_in", "national_id", lambda _: True, r"voter|epic"),),
    "A999999999": (
        _kind("kvnr_de", "medical_id", check.kvnr, r"kvnr|kranken|egk", "check"),
        _kind("id_tw", "national_id", check.taiwanese, r"taiwan|身分證"),
        _kind("id_card_de", "national_id", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and mrz(t), r"ausweis"),
    ),
    "99999999A999": (_kind("pension_de", "national_id", check.german_pension, r"sozialv|rente|\bsvnr", "strong"),),
    "999999A999A": (_kind("hetu_fi", "national_id", check.hetu, r"hetu|henkil", "strong"),),
    "9999999999A": (_kind("hetu_fi", "national_id", lambda _: False, r"hetu", "context"),),
    "A9999999AA": (_kind("hkid", "national_id", lambda _: False, r"hkid", "context"),),
    "AA9999999": (
        _kind("dea_us", "medical_id", check.dea, r"\bdea\b"),
        _ANY_PASSPORT,
        _kind("id_card_it", "national_id", lambda _: True, r"carta d|identit", "context"),
    ),
    "AA9999999A": (_kind("licence_it", "driving_licence", lambda _: True, r"patente|licen[cs]e", "check"),),
    "AA99999AA": (_kind("id_card_it", "national_id", lambda _: True, r"carta d|identit"),),
    "AA999999999": (_kind("vat_de", "tax_id", check.german_vat, r"ust|\bvat\b", "strong"), _VAT),
    "AA99999999": (_VAT,),
    "AA9999999999": (_VAT,),
    "AA99999999999": (
        _kind("vat_fr", "tax_id", check.french_vat, r"\btva\b|\bvat\b", "strong"),
        _kind("vat_it", "tax_id", check.italian_vat, r"\biva\b", "strong"),
        _VAT,
    ),
    "AA999999999999": (_VAT,),
    "AA999999999A99": (_kind("vat_nl", "tax_id", lambda t: t.startswith("NL") and t[11] == "B", r"\bbtw\b", "strong"),),
    "AAA999999": (_VAT,),
    "AAA99999999": (_kind("vat_at", "tax_id", lambda t: t.startswith("ATU"), r"\buid\b|\bust", "strong"),),
    "99999999999999999A": (_kind("resident_cn", "national_id", chinese, r"身份证", "strong"),),
    "AAAA999999AAAAAA99": (_kind("curp_mx", "national_id", _matches(_CURP), r"curp", "strong"),),
    "AAAA999999AAAAAAA9": (_kind("curp_mx", "national_id", _matches(_CURP), r"curp", "strong"),),
    "AAAA999999AAA": (_kind("rfc_mx", "tax_id", lambda t: is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AAAA999999AA9": (_kind("rfc_mx", "tax_id", lambda t: is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AA99AAA": (_kind("plate_gb", "national_id", lambda t: t[1] not in "IQZ", r"registration|vehicle|plate|\breg\b"),),
}  # fmt: skip

MIXED: tuple[tuple[re.Pattern[str], NumberId], ...] = (
    (re.compile(rf"[1-9]{_MBI}(?:{_MBI}|\d)\d{_MBI}(?:{_MBI}|\d)\d{_MBI}{{2}}\d\d"),
     _kind("mbi_us", "medical_id", lambda _: True, "medicare", "strong")),
    (re.compile(r"[A-Z][A-Z9]{4}\d{6}[A-Z9]{2}\d[A-Z]{2}"),
     _kind("licence_gb", "driving_licence", lambda t: t[0:5] != "99999", "licen[cs]e", "strong")),
    (re.compile(r"[LMNPRTVWXY][0-9CFGHJKLMNPRTVWXYZ]{7}\d{2}"),
     _kind("id_card_de", "national_id", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and mrz(t), "ausweis")),
    (re.compile(r"[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{7}\d"),
     _kind("passport_de", "passport", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and mrz(t), "pass")),
    (re.compile(r"U1[A-Z0-9]{7}[A-Z]"), _kind("licence_it", "driving_licence", lambda _: True, "patente")),
)  # fmt: skip
"""What takes more than a shape: letters and digits in the same places. The whole number, without separators."""

WITH_SEPARATORS: tuple[tuple[str, NumberId], ...] = (
    (r"(?i)\b[a-z]{2} ?\d\d ?\d\d ?\d\d ?[a-d]\b", _kind("nino_gb", "national_id", check.nino, "insurance", "strong")),
    (r"\b\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]\b", _kind("hetu_fi", "national_id", check.hetu, "hetu", "strong")),
    (r"\b\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]\b", _kind("rut_cl", "national_id", check.rut, r"\brut\b", "strong")),
    (r"\b[A-Z]{1,2}\d{6}\([\dA]\)", _kind("hkid", "national_id", check.hkid, "hkid", "strong")),
    (r"\b(?:HRA|HRB|VR|GnR|PR)[ .:]{0,2}\d{1,6}\b", _kind("register_de", "tax_id", lambda _: True, "handelsregister|amtsgericht", "strong")),
    (r"\b\d{2,3}/\d{3}/\d{4,5}\b", _kind("steuernummer_de", "tax_id", lambda _: True, "steuer|finanzamt|st\\.?-?nr")),
    (r"\b[A-Z\xc4\xd6\xdc]{1,3}-[A-Z]{1,2}[ -]?\d{1,4}[EH]?\b", _kind("plate_de", "national_id", lambda _: True, "kennzeichen|kfz|plate")),
    (r"\b[A-Z]{2}\d\d [A-Z]{3}\b", _kind("plate_gb", "national_id", lambda _: True, r"registration|vehicle|plate|\breg\b")),
    (r"\b(?:AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|GB|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK) \d[\d ]{7,12}\d\b", _VAT),
)  # fmt: skip
"""RE2 patterns of numbers whose separators are blanks or say what they are."""
