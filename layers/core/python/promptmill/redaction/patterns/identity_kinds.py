"""Kinds of identity numbers: their shapes, their check digits and the words beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from promptmill.redaction.patterns import check_digits as check
from promptmill.redaction.spans import RedactionType

Proof = Literal["check", "strong", "context"]
"""What a valid number still needs: ``strong`` nothing; ``check`` its usual layout, a line of its own or a word before it;
``context`` a word before it."""


class NumberId(Struct, frozen=True):
    """A kind of number. ``words`` before it are proof on their own; ``layouts`` have 9 for every digit."""

    name: str
    type: RedactionType
    valid: Callable[[str], bool]
    words: str
    layouts: tuple[str, ...] = ()
    proof: Proof = "check"


_NINE_DASHED = ("999-99-9999",)
_IN_THREES = ("999 999 999", "999-999-999")

NUMBER_IDS: dict[int, tuple[NumberId, ...]] = {
    8: (NumberId("dni_ar", "national_id", check.any_digits, r"\bdni\b|documento nacional", proof="context"),),
    9: (
        NumberId("itin_us", "tax_id", check.us_itin, r"\bitin\b|tax\w* id|taxpayer", _NINE_DASHED),
        NumberId("routing_us", "routing_number", check.routing, r"routing|\baba\b|\brtn\b|transit", ("9999-9999-9",)),
        NumberId("sin_ca", "national_id", check.sin, r"\bsin\b|\bnas\b|social insurance", _IN_THREES),
        NumberId("tfn_au", "tax_id", check.tfn, r"\btfn\b|tax file", _IN_THREES),
        NumberId("acn_au", "tax_id", check.acn, r"\bacn\b|company number", ("999 999 999",)),
        NumberId("lanr_de", "medical_id", check.lanr, r"\blanr\b|arztn"),
        NumberId("bsnr_de", "medical_id", check.any_digits, r"\bbsnr\b|betriebsst", proof="context"),
        NumberId("bsn_nl", "national_id", check.bsn, r"\bbsn\b|burgerservice|sofi", proof="context"),
        NumberId("nif_pt", "tax_id", check.portuguese_nif, r"\bnif\b|contribuinte", ("999 999 999",), "context"),
        NumberId("siren_fr", "tax_id", check.luhn_13, r"\bsiren\b", proof="context"),
        NumberId("afm_gr", "tax_id", check.any_digits, r"\bafm\b|αφμ", proof="context"),
        NumberId("id_il", "national_id", check.luhn_13, r"teudat|israel\w* id", proof="context"),
        NumberId("ein_us", "tax_id", check.any_digits, r"\bein\b|tax\w* id|\btin\b|employer id", ("99-9999999",), "context"),
    ),
    10: (
        NumberId("npi_us", "medical_id", check.npi, r"\bnpi\b|provider id", ("9999-999-999",)),
        NumberId("nhs_gb", "medical_id", check.nhs, r"\bnhs\b", ("999 999 9999", "999-999-9999")),
        NumberId("medicare_au", "medical_id", check.australian_medicare, r"medicare", ("9999 99999 9",)),
        NumberId("svnr_at", "national_id", check.austrian_svnr, r"sozialversicherung|\bsvnr|\bsv-n", proof="strong"),
        NumberId("nip_pl", "tax_id", check.polish_nip, r"\bnip\b", ("999-999-99-99",)),
        NumberId("rodne_cislo_cz", "national_id", check.rodne_cislo, r"rodn", ("999999/9999",)),
        NumberId("egn_bg", "national_id", check.egn, r"\begn\b", proof="strong"),
        NumberId("personnummer_se", "national_id", check.personnummer, r"personn", ("999999-9999",), "strong"),
        NumberId("company_se", "tax_id", check.swedish_company, r"organisationsn|org\.? ?n", ("999999-9999",)),
        NumberId("company_kr", "tax_id", check.korean_company, r"\bbrn\b|business reg", ("999-99-99999",)),
        NumberId("cpr_dk", "national_id", lambda d: check.is_date(d[4:6], d[2:4], d[:2]), r"\bcpr\b|personn", ("999999-9999",), "context"),
        NumberId("inn_ru", "tax_id", check.any_digits, r"\binn\b|инн", proof="context"),
    ),
    11: (
        NumberId("abn_au", "tax_id", check.abn, r"\babn\b", ("99 999 999 999",), "strong"),
        NumberId("medicare_11_au", "medical_id", check.australian_medicare, r"medicare", ("9999 99999 9 9",)),
        NumberId("steuer_id_de", "tax_id", check.steuer_id, r"steuer|\bidnr|\btin\b", ("99 999 999 999",)),
        NumberId("pesel_pl", "national_id", check.pesel, r"pesel"),
        NumberId("pesel_any_pl", "national_id", check.pesel_any_date, r"pesel"),
        NumberId("rijksregister_be", "national_id", check.belgian, r"rijksregister|registre national|\bniss\b|\binsz\b",
                 ("99.99.99-999.99",), "strong"),
        NumberId("fodselsnummer_no", "national_id", check.fodselsnummer, r"fødselsn|personn", ("999999 99999",), "strong"),
        NumberId("tckn_tr", "national_id", check.tckn, r"\btckn|kimlik|\btc\b", proof="strong"),
        NumberId("amka_gr", "national_id", check.amka, r"\bamka\b|αμκα", proof="strong"),
        NumberId("cpf_br", "national_id", check.cpf, r"\bcpf\b", ("999.999.999-99",), "strong"),
        NumberId("cuit_ar", "tax_id", check.cuit, r"\bcui[tl]\b", ("99-99999999-9",)),
        NumberId("snils_ru", "national_id", check.snils, r"snils|снилс", ("999-999-999 99",), "strong"),
        NumberId("vat_it", "tax_id", check.luhn_13, r"partita iva|p\.? ?iva|\bvat\b|\biva\b"),
        NumberId("oib_hr", "national_id", check.mod_11_10, r"\boib\b"),
        NumberId("isikukood_ee", "national_id", lambda d: check.is_date(d[1:3], d[3:5], d[5:7]) and d[0] in "123456",
                 r"isikukood|asmens kodas|personal code", proof="context"),
        NumberId("nin_ng", "national_id", check.any_digits, r"\bnin\b|national identification|national identity", proof="context"),
    ),
    12: (
        NumberId("aadhaar_in", "national_id", check.aadhaar, r"aadh?aa?r|\buidai?\b", ("9999 9999 9999", "9999-9999-9999"), "check"),
        NumberId("my_number_jp", "national_id", check.my_number, r"my ?number|マイナンバー|個人番号", ("9999 9999 9999", "9999-9999-9999")),
        NumberId("personnummer_12_se", "national_id", check.personnummer, r"personn", ("99999999-9999",), "strong"),
        NumberId("licence_kr", "driving_licence", lambda d: int(d[:2]) in range(11, 29), r"licen[cs]e|면허", ("99-99-999999-99",)),
        NumberId("nric_my", "national_id", check.dated, r"\bnric\b|mykad|\bic\b", ("999999-99-9999",)),
        NumberId("inn_12_ru", "tax_id", check.any_digits, r"\binn\b|инн", proof="context"),
    ),
    13: (
        NumberId("id_za", "national_id", check.south_african, r"\brsa\b|south afr|\bid\b", ("999999 9999 999",), "strong"),
        NumberId("rrn_kr", "national_id", check.resident_registration, r"\brrn\b|\bfrn\b|korean|주민|외국인", ("999999-9999999",)),
        NumberId("cnp_ro", "national_id", check.cnp, r"\bcnp\b", proof="strong"),
        NumberId("emso_si", "national_id", lambda d: check.is_date("0", d[2:4], d[:2]), r"\bemšo\b|\bemso\b|\bjmbg\b", proof="context"),
        NumberId("ahv_ch", "national_id", check.ahv, r"\bahv\b|\bavs\b", ("999.9999.9999.99",), "strong"),
        NumberId("id_th", "national_id", check.thai, r"thai|\btnin\b|บัตร", ("9-9999-99999-99-9",)),
    ),
    14: (
        NumberId("cnpj_br", "tax_id", check.cnpj, r"\bcnpj\b", ("99.999.999/9999-99",), "strong"),
        NumberId("siret_fr", "tax_id", check.luhn_13, r"\bsiret\b", proof="context"),
        NumberId("id_eg", "national_id", lambda d: d[0] in "23" and check.is_date(d[1:3], d[3:5], d[5:7]), r"egypt|الرقم", proof="context"),
    ),
    15: (NumberId("nir_fr", "national_id", check.french_nir, r"\bnir\b|sécurité|\binsee\b", ("9 99 99 99 999 999 99",), "strong"),),
    16: (NumberId("nik_id", "national_id", check.indonesian, r"\bnik\b|\bktp\b", proof="context"),),
    18: (NumberId("resident_cn", "national_id", check.chinese, r"身份证|resident id", proof="strong"),),
}  # fmt: skip


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
_PASSPORT_DE = _kind("passport_de", "passport", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and check.mrz(t), r"pass")
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
        _kind("id_card_de", "national_id", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and check.mrz(t), r"ausweis"),
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
    "99999999999999999A": (_kind("resident_cn", "national_id", check.chinese, r"身份证", "strong"),),
    "AAAA999999AAAAAA99": (_kind("curp_mx", "national_id", _matches(_CURP), r"curp", "strong"),),
    "AAAA999999AAAAAAA9": (_kind("curp_mx", "national_id", _matches(_CURP), r"curp", "strong"),),
    "AAAA999999AAA": (_kind("rfc_mx", "tax_id", lambda t: check.is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AAAA999999AA9": (_kind("rfc_mx", "tax_id", lambda t: check.is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AA99AAA": (_kind("plate_gb", "national_id", lambda t: t[1] not in "IQZ", r"registration|vehicle|plate|\breg\b"),),
}  # fmt: skip

MIXED: tuple[tuple[re.Pattern[str], NumberId], ...] = (
    (re.compile(rf"[1-9]{_MBI}(?:{_MBI}|\d)\d{_MBI}(?:{_MBI}|\d)\d{_MBI}{{2}}\d\d"),
     _kind("mbi_us", "medical_id", lambda _: True, "medicare", "strong")),
    (re.compile(r"[A-Z][A-Z9]{4}\d{6}[A-Z9]{2}\d[A-Z]{2}"),
     _kind("licence_gb", "driving_licence", lambda t: t[0:5] != "99999", "licen[cs]e", "strong")),
    (re.compile(r"[LMNPRTVWXY][0-9CFGHJKLMNPRTVWXYZ]{7}\d{2}"),
     _kind("id_card_de", "national_id", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and check.mrz(t), "ausweis")),
    (re.compile(r"[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{7}\d"),
     _kind("passport_de", "passport", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and check.mrz(t), "pass")),
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
