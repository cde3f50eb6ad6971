"""Identity numbers that are all digits: which countries give them out, and how they are checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from promptmill.domain.redaction.check_digits import (
    brazilian,
    is_date,
    luhn,
    mod_11_10,
    verhoeff,
    weighted,
)
from promptmill.domain.redaction.spans import RedactionType

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


def _varied(digits: str) -> bool:
    return len(set(digits)) > 1


def _us_itin(d: str) -> bool:
    group = int(d[3:5])
    return d[0] == "9" and group in {*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)}


def _routing(d: str) -> bool:
    known = int(d[:2]) in {*range(13), *range(21, 33), *range(61, 73), 80}
    return known and _varied(d) and weighted(d, (3, 7, 1) * 3) % 10 == 0


def _sin(d: str) -> bool:
    return d[0] not in "08" and _varied(d) and luhn(d)


def _tfn(d: str) -> bool:
    return _varied(d) and weighted(d, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _acn(d: str) -> bool:
    return _varied(d) and (10 - weighted(d, (8, 7, 6, 5, 4, 3, 2, 1)) % 10) % 10 == int(d[8])


def _abn(d: str) -> bool:
    return d[0] != "0" and weighted(str(int(d[0]) - 1) + d[1:], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0


def _australian_medicare(d: str) -> bool:
    return d[0] in "23456" and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(d[8])


def _lanr(d: str) -> bool:
    return _varied(d) and (10 - weighted(d, (4, 9, 4, 9, 4, 9)) % 10) % 10 == int(d[6]) and d[7:] != "00"


def _npi(d: str) -> bool:
    return d[0] in "12" and _varied(d[:-1]) and luhn("80840" + d)


def _nhs(d: str) -> bool:
    return _varied(d) and (11 - weighted(d, range(10, 1, -1)) % 11) % 11 == int(d[9])


def _bsn(d: str) -> bool:
    return _varied(d) and weighted(d, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _portuguese_nif(d: str) -> bool:
    check = 11 - weighted(d, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return d[0] in "1235689" and int(d[8]) == (check if check < 10 else 0)  # noqa: PLR2004 (one digit)


def _austrian_svnr(d: str) -> bool:
    return is_date(d[8:], d[6:8], d[4:6]) and weighted(d[:3] + d[4:], (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11 == int(d[3])


def _ahv(d: str) -> bool:
    return d.startswith("756") and weighted(d, (1, 3) * 6 + (1,)) % 10 == 0


def _belgian(d: str) -> bool:
    return any((97 - int(prefix + d[:9]) % 97) == int(d[9:]) for prefix in ("", "2"))


def _pesel(d: str) -> bool:
    month = int(d[2:4]) % 20
    return is_date(d[:2], str(month), d[4:6]) and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _pesel_any_date(d: str) -> bool:
    return weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _polish_nip(d: str) -> bool:
    return _varied(d) and weighted(d, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == int(d[9])


def _steuer_id(d: str) -> bool:
    return d[0] != "0" and max(map(d[:10].count, d[:10])) in (2, 3) and mod_11_10(d)


def _rodne_cislo(d: str) -> bool:
    month = int(d[2:4]) % 50 % 20 if int(d[2:4]) % 50 > 20 else int(d[2:4]) % 50  # noqa: PLR2004 (months are moved by 20 and 50)
    return is_date(d[:2], str(month), d[4:6]) and int(d[:9]) % 11 % 10 == int(d[9])


def _cnp(d: str) -> bool:
    total = weighted(d, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return d[0] in "12345678" and is_date(d[1:3], d[3:5], d[5:7]) and (1 if total == 10 else total) == int(d[12])  # noqa: PLR2004 (11 minus 1)


def _egn(d: str) -> bool:
    month = int(d[2:4]) % 20
    return is_date(d[:2], str(month), d[4:6]) and weighted(d, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(d[9])


def _personnummer(d: str) -> bool:
    d = d[-10:]
    day = int(d[4:6])
    return is_date(d[:2], d[2:4], str(day - 60 if day > 60 else day)) and luhn(d)  # noqa: PLR2004 (co-ordination numbers)


def _swedish_company(d: str) -> bool:
    return int(d[2]) >= 2 and luhn(d)  # noqa: PLR2004 (tells companies from persons)


def _fodselsnummer(d: str) -> bool:
    day = int(d[:2])
    first = (11 - weighted(d, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return is_date(d[4:6], d[2:4], str(day - 40 if day > 40 else day)) and d[9:] == f"{first}{second}"  # noqa: PLR2004 (D numbers)


def _tckn(d: str) -> bool:
    odd, even = sum(map(int, d[:9:2])), sum(map(int, d[1:8:2]))
    return d[0] != "0" and (7 * odd - even) % 10 == int(d[9]) and sum(map(int, d[:10])) % 10 == int(d[10])


def _amka(d: str) -> bool:
    return is_date(d[4:6], d[2:4], d[:2]) and luhn(d)


def _south_african(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6]) and d[10] in "012" and luhn(d)


def _resident_registration(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6]) and d[6] in "12345678"


def _korean_company(d: str) -> bool:
    total = weighted(d, (1, 3, 7, 1, 3, 7, 1, 3)) + int(d[8]) * 5 // 10 + int(d[8]) * 5 % 10
    return _varied(d) and (10 - total % 10) % 10 == int(d[9])


def _my_number(d: str) -> bool:
    remainder = weighted(d, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return _varied(d) and (0 if remainder < 2 else 11 - remainder) == int(d[11])  # noqa: PLR2004 (remainders without a digit)


def _thai(d: str) -> bool:
    return d[0] != "0" and (11 - weighted(d, range(13, 1, -1)) % 11) % 10 == int(d[12])


def _aadhaar(d: str) -> bool:
    return d[0] not in "01" and _varied(d) and verhoeff(d)


def _cpf(d: str) -> bool:
    return _varied(d) and brazilian(d, range(11, 1, -1))


def _cnpj(d: str) -> bool:
    return _varied(d) and brazilian(d, (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))


def _cuit(d: str) -> bool:
    check = (11 - weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return int(d[:2]) in {20, 23, 24, 25, 26, 27, 30, 33, 34} and check == int(d[10])


def _snils(d: str) -> bool:
    check = weighted(d, range(9, 0, -1)) % 101 % 100
    return _varied(d[:9]) and check == int(d[9:])


def _luhn_13(d: str) -> bool:
    return _varied(d) and luhn(d)


def _french_nir(d: str) -> bool:
    month = int(d[3:5])
    return d[0] in "1278" and (1 <= month <= 12 or 20 <= month <= 42) and 97 - int(d[:13]) % 97 == int(d[13:])  # noqa: PLR2004 (months, known or not)


def _chinese(d: str) -> bool:
    sums = weighted(d, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return is_date(d[6:10], d[10:12], d[12:14]) and "10X98765432"[sums % 11] == d[17]


def _dated(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6])


def _indonesian(d: str) -> bool:
    day = int(d[6:8])
    return d[0] in "123456789" and is_date(d[10:12], d[8:10], str(day - 40 if day > 40 else day))  # noqa: PLR2004 (women's days are moved by 40)


def _any(d: str) -> bool:
    return _varied(d)


_NINE_DASHED = ("999-99-9999",)
_IN_THREES = ("999 999 999", "999-999-999")

NUMBER_IDS: dict[int, tuple[NumberId, ...]] = {
    8: (NumberId("dni_ar", "national_id", _any, r"\bdni\b|documento nacional", proof="context"),),
    9: (
        NumberId("itin_us", "tax_id", _us_itin, r"\bitin\b|tax\w* id|taxpayer", _NINE_DASHED, "strong"),
        NumberId("routing_us", "routing_number", _routing, r"routing|\baba\b|\brtn\b|transit", ("9999-9999-9",)),
        NumberId("sin_ca", "national_id", _sin, r"\bsin\b|\bnas\b|social insurance", _IN_THREES),
        NumberId("tfn_au", "tax_id", _tfn, r"\btfn\b|tax file", _IN_THREES),
        NumberId("acn_au", "tax_id", _acn, r"\bacn\b|company number", ("999 999 999",)),
        NumberId("lanr_de", "medical_id", _lanr, r"\blanr\b|arztn"),
        NumberId("bsnr_de", "medical_id", _any, r"\bbsnr\b|betriebsst", proof="context"),
        NumberId("bsn_nl", "national_id", _bsn, r"\bbsn\b|burgerservice|sofi", proof="context"),
        NumberId("nif_pt", "tax_id", _portuguese_nif, r"\bnif\b|contribuinte", ("999 999 999",), "context"),
        NumberId("siren_fr", "tax_id", _luhn_13, r"\bsiren\b", proof="context"),
        NumberId("afm_gr", "tax_id", _any, r"\bafm\b|αφμ", proof="context"),
        NumberId("id_il", "national_id", _luhn_13, r"teudat|israel\w* id", proof="context"),
        NumberId("ein_us", "tax_id", _any, r"\bein\b|tax\w* id|\btin\b|employer id", ("99-9999999",), "context"),
    ),
    10: (
        NumberId("npi_us", "medical_id", _npi, r"\bnpi\b|provider id", ("9999-999-999",)),
        NumberId("nhs_gb", "medical_id", _nhs, r"\bnhs\b", ("999 999 9999", "999-999-9999")),
        NumberId("medicare_au", "medical_id", _australian_medicare, r"medicare", ("9999 99999 9",)),
        NumberId("svnr_at", "national_id", _austrian_svnr, r"sozialversicherung|\bsvnr|\bsv-n", proof="strong"),
        NumberId("nip_pl", "tax_id", _polish_nip, r"\bnip\b", ("999-999-99-99",)),
        NumberId("rodne_cislo_cz", "national_id", _rodne_cislo, r"rodn", ("999999/9999",)),
        NumberId("egn_bg", "national_id", _egn, r"\begn\b", proof="strong"),
        NumberId("personnummer_se", "national_id", _personnummer, r"personn", ("999999-9999",), "strong"),
        NumberId("company_se", "tax_id", _swedish_company, r"organisationsn|org\.? ?n", ("999999-9999",)),
        NumberId("company_kr", "tax_id", _korean_company, r"\bbrn\b|business reg", ("999-99-99999",)),
        NumberId("cpr_dk", "national_id", lambda d: is_date(d[4:6], d[2:4], d[:2]), r"\bcpr\b|personn", ("999999-9999",), "context"),
        NumberId("inn_ru", "tax_id", _any, r"\binn\b|инн", proof="context"),
    ),
    11: (
        NumberId("abn_au", "tax_id", _abn, r"\babn\b", ("99 999 999 999",), "strong"),
        NumberId("medicare_11_au", "medical_id", _australian_medicare, r"medicare", ("9999 99999 9 9",)),
        NumberId("steuer_id_de", "tax_id", _steuer_id, r"steuer|\bidnr|\btin\b", ("99 999 999 999",)),
        NumberId("pesel_pl", "national_id", _pesel, r"pesel", proof="strong"),
        NumberId("pesel_any_pl", "national_id", _pesel_any_date, r"pesel"),
        NumberId("rijksregister_be", "national_id", _belgian, r"rijksregister|registre national|\bniss\b|\binsz\b",
                 ("99.99.99-999.99",), "strong"),
        NumberId("fodselsnummer_no", "national_id", _fodselsnummer, r"fødselsn|personn", ("999999 99999",), "strong"),
        NumberId("tckn_tr", "national_id", _tckn, r"\btckn|kimlik|\btc\b", proof="strong"),
        NumberId("amka_gr", "national_id", _amka, r"\bamka\b|αμκα", proof="strong"),
        NumberId("cpf_br", "national_id", _cpf, r"\bcpf\b", ("999.999.999-99",), "strong"),
        NumberId("cuit_ar", "tax_id", _cuit, r"\bcui[tl]\b", ("99-99999999-9",)),
        NumberId("snils_ru", "national_id", _snils, r"snils|снилс", ("999-999-999 99",), "strong"),
        NumberId("vat_it", "tax_id", _luhn_13, r"partita iva|p\.? ?iva|\bvat\b|\biva\b"),
        NumberId("oib_hr", "national_id", mod_11_10, r"\boib\b"),
        NumberId("isikukood_ee", "national_id", lambda d: is_date(d[1:3], d[3:5], d[5:7]) and d[0] in "123456",
                 r"isikukood|asmens kodas|personal code", proof="context"),
        NumberId("nin_ng", "national_id", _any, r"\bnin\b|national identification|national identity", proof="context"),
    ),
    12: (
        NumberId("aadhaar_in", "national_id", _aadhaar, r"aadh?aa?r|\buidai?\b", ("9999 9999 9999", "9999-9999-9999"), "check"),
        NumberId("my_number_jp", "national_id", _my_number, r"my ?number|マイナンバー|個人番号", ("9999 9999 9999", "9999-9999-9999")),
        NumberId("personnummer_12_se", "national_id", _personnummer, r"personn", ("99999999-9999",), "strong"),
        NumberId("licence_kr", "driving_licence", lambda d: 11 <= int(d[:2]) <= 28, r"licen[cs]e|면허", ("99-99-999999-99",)),
        NumberId("nric_my", "national_id", _dated, r"\bnric\b|mykad|\bic\b", ("999999-99-9999",)),
        NumberId("inn_12_ru", "tax_id", _any, r"\binn\b|инн", proof="context"),
    ),
    13: (
        NumberId("id_za", "national_id", _south_african, r"\brsa\b|south afr|\bid\b", ("999999 9999 999",), "strong"),
        NumberId("rrn_kr", "national_id", _resident_registration, r"\brrn\b|\bfrn\b|korean|주민|외국인", ("999999-9999999",)),
        NumberId("cnp_ro", "national_id", _cnp, r"\bcnp\b", proof="strong"),
        NumberId("emso_si", "national_id", lambda d: is_date("0", d[2:4], d[:2]), r"\bemšo\b|\bemso\b|\bjmbg\b", proof="context"),
        NumberId("ahv_ch", "national_id", _ahv, r"\bahv\b|\bavs\b", ("999.9999.9999.99",), "strong"),
        NumberId("id_th", "national_id", _thai, r"thai|\btnin\b|บัตร", ("9-9999-99999-99-9",)),
    ),
    14: (
        NumberId("cnpj_br", "tax_id", _cnpj, r"\bcnpj\b", ("99.999.999/9999-99",), "strong"),
        NumberId("siret_fr", "tax_id", _luhn_13, r"\bsiret\b", proof="context"),
        NumberId("id_eg", "national_id", lambda d: d[0] in "23" and is_date(d[1:3], d[3:5], d[5:7]), r"egypt|الرقم", proof="context"),
    ),
    15: (NumberId("nir_fr", "national_id", _french_nir, r"\bnir\b|sécurité|\binsee\b", ("9 99 99 99 999 999 99",), "strong"),),
    16: (NumberId("nik_id", "national_id", _indonesian, r"\bnik\b|\bktp\b", proof="context"),),
    18: (NumberId("resident_cn", "national_id", _chinese, r"身份证|resident id", proof="strong"),),
}  # fmt: skip

WORDS = re.compile("|".join(f"(?:{kind.words})" for kinds in NUMBER_IDS.values() for kind in kinds), re.IGNORECASE)
"""Any word that stands before an identity number."""
