"""Identity numbers that are all digits: which countries give them out, and how they are checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from promptmill.redaction.patterns import number_checks as check
from promptmill.redaction.patterns.check_digits import is_date, mod_11_10
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
        NumberId("cpr_dk", "national_id", lambda d: is_date(d[4:6], d[2:4], d[:2]), r"\bcpr\b|personn", ("999999-9999",), "context"),
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
        NumberId("oib_hr", "national_id", mod_11_10, r"\boib\b"),
        NumberId("isikukood_ee", "national_id", lambda d: is_date(d[1:3], d[3:5], d[5:7]) and d[0] in "123456",
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
        NumberId("emso_si", "national_id", lambda d: is_date("0", d[2:4], d[:2]), r"\bemšo\b|\bemso\b|\bjmbg\b", proof="context"),
        NumberId("ahv_ch", "national_id", check.ahv, r"\bahv\b|\bavs\b", ("999.9999.9999.99",), "strong"),
        NumberId("id_th", "national_id", check.thai, r"thai|\btnin\b|บัตร", ("9-9999-99999-99-9",)),
    ),
    14: (
        NumberId("cnpj_br", "tax_id", check.cnpj, r"\bcnpj\b", ("99.999.999/9999-99",), "strong"),
        NumberId("siret_fr", "tax_id", check.luhn_13, r"\bsiret\b", proof="context"),
        NumberId("id_eg", "national_id", lambda d: d[0] in "23" and is_date(d[1:3], d[3:5], d[5:7]), r"egypt|الرقم", proof="context"),
    ),
    15: (NumberId("nir_fr", "national_id", check.french_nir, r"\bnir\b|sécurité|\binsee\b", ("9 99 99 99 999 999 99",), "strong"),),
    16: (NumberId("nik_id", "national_id", check.indonesian, r"\bnik\b|\bktp\b", proof="context"),),
    18: (NumberId("resident_cn", "national_id", check.chinese, r"身份证|resident id", proof="strong"),),
}  # fmt: skip

WORDS = re.compile("|".join(f"(?:{kind.words})" for kinds in NUMBER_IDS.values() for kind in kinds), re.IGNORECASE)
"""Any word that stands before an identity number."""
