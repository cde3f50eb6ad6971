"""The table of identity numbers: their shapes, check digits, usual layouts and the words beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from promptmill.redaction.patterns import check_digits as check
from promptmill.redaction.spans import RedactionType

Proof = Literal["check", "strong", "context"]
"""The proof that a valid number still needs: ``strong`` none; ``check`` its usual layout, a line of its own or a word
before it; ``context`` a word before it."""


class IdentityKind(Struct, frozen=True):
    """A kind of identity number.

    Attributes:
        words: a pattern of words beside the number, which prove it on their own.
        layouts: how it is usually written, with 9 for every digit.
    """

    name: str
    type: RedactionType
    valid: Callable[[str], bool]
    words: str
    proof: Proof = "check"
    layouts: tuple[str, ...] = ()


_NINE_DASHED = ("999-99-9999",)
_IN_THREES = ("999 999 999", "999-999-999")

NUMBER_IDS: dict[int, tuple[IdentityKind, ...]] = {
    8: (IdentityKind("dni_ar", "national_id", check.any_digits, r"\bdni\b|documento nacional", proof="context"),),
    9: (
        IdentityKind("itin_us", "tax_id", check.us_itin, r"\bitin\b|tax\w* id|taxpayer", layouts=_NINE_DASHED),
        IdentityKind("routing_us", "routing_number", check.routing, r"routing|\baba\b|\brtn\b|transit", layouts=("9999-9999-9",)),
        IdentityKind("sin_ca", "national_id", check.sin, r"\bsin\b|\bnas\b|social insurance", layouts=_IN_THREES),
        IdentityKind("tfn_au", "tax_id", check.tfn, r"\btfn\b|tax file", layouts=_IN_THREES),
        IdentityKind("acn_au", "tax_id", check.acn, r"\bacn\b|company number", layouts=("999 999 999",)),
        IdentityKind("lanr_de", "medical_id", check.lanr, r"\blanr\b|arztn"),
        IdentityKind("bsnr_de", "medical_id", check.any_digits, r"\bbsnr\b|betriebsst", proof="context"),
        IdentityKind("bsn_nl", "national_id", check.bsn, r"\bbsn\b|burgerservice|sofi", proof="context"),
        IdentityKind("nif_pt", "tax_id", check.portuguese_nif, r"\bnif\b|contribuinte", layouts=("999 999 999",), proof="context"),
        IdentityKind("siren_fr", "tax_id", check.luhn_13, r"\bsiren\b", proof="context"),
        IdentityKind("afm_gr", "tax_id", check.any_digits, r"\bafm\b|αφμ", proof="context"),
        IdentityKind("id_il", "national_id", check.luhn_13, r"teudat|israel\w* id", proof="context"),
        IdentityKind("ein_us", "tax_id", check.any_digits, r"\bein\b|tax\w* id|\btin\b|employer id", layouts=("99-9999999",), proof="context"),
    ),
    10: (
        IdentityKind("npi_us", "medical_id", check.npi, r"\bnpi\b|provider id", layouts=("9999-999-999",)),
        IdentityKind("nhs_gb", "medical_id", check.nhs, r"\bnhs\b", layouts=("999 999 9999", "999-999-9999")),
        IdentityKind("medicare_au", "medical_id", check.australian_medicare, r"medicare", layouts=("9999 99999 9",)),
        IdentityKind("svnr_at", "national_id", check.austrian_svnr, r"sozialversicherung|\bsvnr|\bsv-n", proof="strong"),
        IdentityKind("nip_pl", "tax_id", check.polish_nip, r"\bnip\b", layouts=("999-999-99-99",)),
        IdentityKind("rodne_cislo_cz", "national_id", check.rodne_cislo, r"rodn", layouts=("999999/9999",)),
        IdentityKind("egn_bg", "national_id", check.egn, r"\begn\b", proof="strong"),
        IdentityKind("personnummer_se", "national_id", check.personnummer, r"personn", layouts=("999999-9999",), proof="strong"),
        IdentityKind("company_se", "tax_id", check.swedish_company, r"organisationsn|org\.? ?n", layouts=("999999-9999",)),
        IdentityKind("company_kr", "tax_id", check.korean_company, r"\bbrn\b|business reg", layouts=("999-99-99999",)),
        IdentityKind("cpr_dk", "national_id", lambda d: check.is_date(d[4:6], d[2:4], d[:2]), r"\bcpr\b|personn", layouts=("999999-9999",), proof="context"),
        IdentityKind("inn_ru", "tax_id", check.any_digits, r"\binn\b|инн", proof="context"),
    ),
    11: (
        IdentityKind("abn_au", "tax_id", check.abn, r"\babn\b", layouts=("99 999 999 999",), proof="strong"),
        IdentityKind("medicare_11_au", "medical_id", check.australian_medicare, r"medicare", layouts=("9999 99999 9 9",)),
        IdentityKind("steuer_id_de", "tax_id", check.steuer_id, r"steuer|\bidnr|\btin\b", layouts=("99 999 999 999",)),
        IdentityKind("pesel_pl", "national_id", check.pesel, r"pesel"),
        IdentityKind("pesel_any_pl", "national_id", check.pesel_any_date, r"pesel"),
        IdentityKind("rijksregister_be", "national_id", check.belgian, r"rijksregister|registre national|\bniss\b|\binsz\b",
                 layouts=("99.99.99-999.99",), proof="strong"),
        IdentityKind("fodselsnummer_no", "national_id", check.fodselsnummer, r"fødselsn|personn", layouts=("999999 99999",), proof="strong"),
        IdentityKind("tckn_tr", "national_id", check.tckn, r"\btckn|kimlik|\btc\b", proof="strong"),
        IdentityKind("amka_gr", "national_id", check.amka, r"\bamka\b|αμκα", proof="strong"),
        IdentityKind("cpf_br", "national_id", check.cpf, r"\bcpf\b", layouts=("999.999.999-99",), proof="strong"),
        IdentityKind("cuit_ar", "tax_id", check.cuit, r"\bcui[tl]\b", layouts=("99-99999999-9",)),
        IdentityKind("snils_ru", "national_id", check.snils, r"snils|снилс", layouts=("999-999-999 99",), proof="strong"),
        IdentityKind("vat_it", "tax_id", check.luhn_13, r"partita iva|p\.? ?iva|\bvat\b|\biva\b"),
        IdentityKind("oib_hr", "national_id", check.mod_11_10, r"\boib\b"),
        IdentityKind("isikukood_ee", "national_id", lambda d: check.is_date(d[1:3], d[3:5], d[5:7]) and d[0] in "123456",
                 r"isikukood|asmens kodas|personal code", proof="context"),
        IdentityKind("nin_ng", "national_id", check.any_digits, r"\bnin\b|national identification|national identity", proof="context"),
    ),
    12: (
        IdentityKind("aadhaar_in", "national_id", check.aadhaar, r"aadh?aa?r|\buidai?\b", layouts=("9999 9999 9999", "9999-9999-9999"), proof="check"),
        IdentityKind("my_number_jp", "national_id", check.my_number, r"my ?number|マイナンバー|個人番号", layouts=("9999 9999 9999", "9999-9999-9999")),
        IdentityKind("personnummer_12_se", "national_id", check.personnummer, r"personn", layouts=("99999999-9999",), proof="strong"),
        IdentityKind("nric_my", "national_id", check.has_date, r"\bnric\b|mykad|\bic\b", layouts=("999999-99-9999",)),
        IdentityKind("inn_12_ru", "tax_id", check.any_digits, r"\binn\b|инн", proof="context"),
    ),
    13: (
        IdentityKind("id_za", "national_id", check.south_african, r"\brsa\b|south afr|\bid\b", layouts=("999999 9999 999",), proof="strong"),
        IdentityKind("rrn_kr", "national_id", check.resident_registration, r"\brrn\b|\bfrn\b|korean|주민|외국인", layouts=("999999-9999999",)),
        IdentityKind("cnp_ro", "national_id", check.cnp, r"\bcnp\b", proof="strong"),
        IdentityKind("emso_si", "national_id", lambda d: check.is_date("0", d[2:4], d[:2]), r"\bemšo\b|\bemso\b|\bjmbg\b", proof="context"),
        IdentityKind("ahv_ch", "national_id", check.ahv, r"\bahv\b|\bavs\b", layouts=("999.9999.9999.99",), proof="strong"),
        IdentityKind("id_th", "national_id", check.thai, r"thai|\btnin\b|บัตร", layouts=("9-9999-99999-99-9",)),
    ),
    14: (
        IdentityKind("cnpj_br", "tax_id", check.cnpj, r"\bcnpj\b", layouts=("99.999.999/9999-99",), proof="strong"),
        IdentityKind("siret_fr", "tax_id", check.luhn_13, r"\bsiret\b", proof="context"),
        IdentityKind("id_eg", "national_id", lambda d: d[0] in "23" and check.is_date(d[1:3], d[3:5], d[5:7]), r"egypt|الرقم", proof="context"),
    ),
    15: (IdentityKind("nir_fr", "national_id", check.french_nir, r"\bnir\b|sécurité|\binsee\b", layouts=("9 99 99 99 999 999 99",), proof="strong"),),
    16: (IdentityKind("nik_id", "national_id", check.indonesian, r"\bnik\b|\bktp\b", proof="context"),),
    18: (IdentityKind("resident_cn", "national_id", check.chinese, r"身份证|resident id", proof="strong"),),
}  # fmt: skip


def _make_matcher(pattern: str) -> Callable[[str], bool]:
    expression = re.compile(pattern)
    return lambda text: expression.fullmatch(text) is not None


_DIGITS_OF_A_DOCUMENT = 4
_MBI = "[AC-HJKMNP-RT-Y]"


_NIF = IdentityKind("nif_es", "national_id", check.spanish, r"\bnif\b|\bdni\b|\bnie\b", "strong")
_VAT = IdentityKind(
    "vat_eu", "tax_id", check.eu_vat, r"\bvat\b|ust|tax\w* (?:id|number|no)|\btva\b|\biva\b|\bbtw\b", "context"
)
_UEN = IdentityKind("uen_sg", "tax_id", check.uen, r"\buen\b", "strong")
_PASSPORT_DE = IdentityKind("passport_de", "passport", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and check.mrz(t), r"pass")
_ANY_PASSPORT = IdentityKind("passport", "passport", lambda _: True, r"pass", "context")
_PAN = _make_matcher(r"[A-Z]{3}[ABCFGHJLPTN][A-Z]\d{4}[A-Z]")
_PPS = IdentityKind("pps_ie", "national_id", check.pps, r"\bpps")
_CURP = r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"

SHAPES: dict[str, tuple[IdentityKind, ...]] = {
    "AA999999A": (IdentityKind("nino_gb", "national_id", check.nino, r"\bnino?\b|\bni (?:no|num)|national insurance", "strong"), _ANY_PASSPORT),
    "99999999A": (_NIF, _UEN, IdentityKind("patient", "medical_id", lambda _: True, r"\bmrn\b", "context")),
    "9999999A": (_NIF, _PPS),
    "9999999AA": (_PPS, IdentityKind("id_card_it", "national_id", lambda _: True, r"carta d|identit", "context")),
    "A9999999A": (
        _NIF,
        IdentityKind("nric_sg", "national_id", check.singapore, r"nric|\bfin\b|singapore", "strong"),
        IdentityKind("company_es", "tax_id", check.spanish_company, r"\bcif\b|\bnif\b"),
    ),
    "A99999999": (
        _PASSPORT_DE,
        IdentityKind("company_es", "tax_id", check.spanish_company, r"\bcif\b|\bnif\b", "context"),
        IdentityKind("passport_kr", "passport", lambda t: t[0] in "MSRODG", r"passport|여권"),
        _ANY_PASSPORT,
    ),
    "A9999999": (
        IdentityKind("passport_in", "passport", lambda t: t[0] in "ABCDEFGHJKLMNPRSTUVWXYZ" and t[1] != "0" and t[-1] != "0", "pass"),
    ),
    "A999A9999": (IdentityKind("passport_kr", "passport", lambda t: t[0] in "MSRODG", r"passport|여권"),),
    "AAAAAA99A99A999A": (IdentityKind("codice_fiscale_it", "national_id", lambda t: t[8] in "ABCDEHLMPRST", r"fiscale", "strong"),),
    "999999999A": (_UEN, IdentityKind("nic_lk", "national_id", lambda t: t[-1] in "VX", r"\bnic\b", "context")),
    "A99AA9999A": (_UEN,),
    "AAAAA9999A": (IdentityKind("pan_in", "tax_id", _PAN, r"\bpan\b|permanent account", "strong"),),
    "99AAAAA9999A9A9": (IdentityKind("gstin_in", "tax_id", check.gstin, r"gst", "strong"),),
    "99AAAAA9999A9AA": (IdentityKind("gstin_in", "tax_id", check.gstin, r"gst", "strong"),),
    "AA99AA9999": (IdentityKind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate", "strong"),),
    "AA99A9999": (IdentityKind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate"),),
    "AA9A9999": (IdentityKind("plate_in", "national_id", check.indian_plate, r"registration|vehicle|plate", "context"),),
    "AAA9999": (IdentityKind("plate_old_in", "national_id", lambda t: t[0] in "MDKGWTUPRABHOJ", r"registration|vehicle|plate"),),
    "AAA9999999": (IdentityKind("voter_in", "national_id", lambda _: True, r"voter|epic"),),
    "A999999999": (
        IdentityKind("kvnr_de", "medical_id", check.kvnr, r"kvnr|kranken|egk", "check"),
        IdentityKind("id_tw", "national_id", check.taiwanese, r"taiwan|身分證"),
        IdentityKind("id_card_de", "national_id", lambda t: t[0] in "CFGHJKLMNPRTVWXYZ" and check.mrz(t), r"ausweis"),
    ),
    "99999999A999": (IdentityKind("pension_de", "national_id", check.german_pension, r"sozialv|rente|\bsvnr", "strong"),),
    "999999A999A": (IdentityKind("hetu_fi", "national_id", check.hetu, r"hetu|henkil", "strong"),),
    "AA9999999": (
        IdentityKind("dea_us", "medical_id", check.dea, r"\bdea\b"),
        _ANY_PASSPORT,
        IdentityKind("id_card_it", "national_id", lambda _: True, r"carta d|identit", "context"),
    ),
    "AA9999999A": (IdentityKind("licence_it", "driving_licence", lambda _: True, r"patente|licen[cs]e", "check"),),
    "AA99999AA": (IdentityKind("id_card_it", "national_id", lambda _: True, r"carta d|identit"),),
    "AA999999999": (IdentityKind("vat_de", "tax_id", check.german_vat, r"ust|\bvat\b", "strong"), _VAT),
    "AA99999999": (_VAT,),
    "AA9999999999": (_VAT,),
    "AA99999999999": (
        IdentityKind("vat_fr", "tax_id", check.french_vat, r"\btva\b|\bvat\b", "strong"),
        IdentityKind("vat_it", "tax_id", check.italian_vat, r"\biva\b", "strong"),
        _VAT,
    ),
    "AA999999999999": (_VAT,),
    "AA999999999A99": (IdentityKind("vat_nl", "tax_id", lambda t: t.startswith("NL") and t[11] == "B", r"\bbtw\b", "strong"),),
    "AAA999999": (_VAT,),
    "AAA99999999": (IdentityKind("vat_at", "tax_id", lambda t: t.startswith("ATU"), r"\buid\b|\bust", "strong"),),
    "99999999999999999A": (IdentityKind("resident_cn", "national_id", check.chinese, r"身份证", "strong"),),
    "AAAA999999AAAAAA99": (IdentityKind("curp_mx", "national_id", _make_matcher(_CURP), r"curp", "strong"),),
    "AAAA999999AAAAAAA9": (IdentityKind("curp_mx", "national_id", _make_matcher(_CURP), r"curp", "strong"),),
    "AAAA999999AAA": (IdentityKind("rfc_mx", "tax_id", lambda t: check.is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AAAA999999AA9": (IdentityKind("rfc_mx", "tax_id", lambda t: check.is_date(t[4:6], t[6:8], t[8:10]), r"\brfc\b", "strong"),),
    "AA99AAA": (IdentityKind("plate_gb", "national_id", lambda t: t[1] not in "IQZ", r"registration|vehicle|plate|\breg\b"),),
}  # fmt: skip

MIXED: tuple[tuple[re.Pattern[str], IdentityKind], ...] = (
    (re.compile(rf"[1-9]{_MBI}(?:{_MBI}|\d)\d{_MBI}(?:{_MBI}|\d)\d{_MBI}{{2}}\d\d"),
     IdentityKind("mbi_us", "medical_id", lambda _: True, "medicare", "strong")),
    (re.compile(r"[A-Z][A-Z9]{4}\d{6}[A-Z9]{2}\d[A-Z]{2}"),
     IdentityKind("licence_gb", "driving_licence", lambda t: t[0:5] != "99999", "licen[cs]e", "strong")),
    (re.compile(r"[LMNPRTVWXY][0-9CFGHJKLMNPRTVWXYZ]{7}\d{2}"),
     IdentityKind("id_card_de", "national_id", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and check.mrz(t), "ausweis")),
    (re.compile(r"[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{7}\d"),
     IdentityKind("passport_de", "passport", lambda t: sum(map(str.isdigit, t)) >= _DIGITS_OF_A_DOCUMENT and check.mrz(t), "pass")),
    (re.compile(r"U1[A-Z0-9]{7}[A-Z]"), IdentityKind("licence_it", "driving_licence", lambda _: True, "patente")),
)  # fmt: skip
"""Numbers that have letters or digits in the same place, so that a shape can't tell them; without separators."""

WITH_SEPARATORS: tuple[tuple[str, IdentityKind], ...] = (
    (r"(?i)\b[a-z]{2} ?\d\d ?\d\d ?\d\d ?[a-d]\b", IdentityKind("nino_gb", "national_id", check.nino, "insurance", "strong")),
    (r"\b\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]\b", IdentityKind("hetu_fi", "national_id", check.hetu, "hetu", "strong")),
    (r"\b\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]\b", IdentityKind("rut_cl", "national_id", check.rut, r"\brut\b", "strong")),
    (r"\b[A-Z]{1,2}\d{6}\([\dA]\)", IdentityKind("hkid", "national_id", check.hkid, "hkid", "strong")),
    (r"\b(?:HRA|HRB|VR|GnR|PR)[ .:]{1,2}\d{1,6}\b|\bHR[AB]\d{3,6}\b", IdentityKind("register_de", "tax_id", lambda _: True, "handelsregister|amtsgericht", "strong")),
    (r"\b(?:1[1-9]|2[0-8])-\d\d-\d{6}-\d\d\b", IdentityKind("licence_kr", "driving_licence", lambda _: True, "면허", "strong")),
    (r"\b\d{2,3}/\d{3}/\d{4,5}\b", IdentityKind("steuernummer_de", "tax_id", lambda _: True, "steuer|finanzamt|st\\.?-?nr")),
    (r"\b[A-Z\xc4\xd6\xdc]{1,3}-[A-Z]{1,2}[ -]?\d{1,4}[EH]?\b", IdentityKind("plate_de", "national_id", lambda _: True, "kennzeichen|kfz|plate")),
    (r"\b[A-Z]{2}\d\d [A-Z]{3}\b", IdentityKind("plate_gb", "national_id", lambda _: True, r"registration|vehicle|plate|\breg\b")),
    (r"\b(?:AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|GB|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK) \d[\d ]{7,12}\d\b", _VAT),
)  # fmt: skip
"""RE2 patterns of numbers with blanks in them, or whose separators tell what they are."""
