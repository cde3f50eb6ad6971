"""Whether letters and digits are a number that a country could have given out."""

from __future__ import annotations

from promptmill.redaction.patterns.check_digits import is_date, luhn, mod_11_10, weighted

_INDIAN_STATES = frozenset(
    [
        "AN",
        "AP",
        "AR",
        "AS",
        "BR",
        "CG",
        "CH",
        "DD",
        "DL",
        "DN",
        "GA",
        "GJ",
        "HP",
        "HR",
        "JH",
        "JK",
        "KA",
        "KL",
        "LA",
        "LD",
        "MH",
        "ML",
        "MN",
        "MP",
        "MZ",
        "NL",
        "OD",
        "OR",
        "PB",
        "PY",
        "RJ",
        "SK",
        "TN",
        "TR",
        "TS",
        "UK",
        "UP",
        "WB",
    ]
)


_EU_VAT = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "EL",
        "ES",
        "FI",
        "FR",
        "GB",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)


_NEVER_NINO = frozenset(["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"])


def nino(t: str) -> bool:
    return t[0] not in "DFIQUV" and t[1] not in "DFIQUVO" and t[:2] not in _NEVER_NINO and t[8] in "ABCD"


def spanish(t: str) -> bool:
    number = {"X": "0", "Y": "1", "Z": "2"}.get(t[0], t[0]) + t[1:-1]
    return number.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == t[-1]


def spanish_company(t: str) -> bool:
    sums = sum(map(int, t[2:8:2])) + sum(int(d) * 2 // 10 + int(d) * 2 % 10 for d in t[1:8:2])
    check = (10 - sums % 10) % 10
    return t[0] in "ABCDEFGHJNPQRSUVW" and t[8] in (str(check), "JABCDEFGHI"[check])


def kvnr(t: str) -> bool:
    digits = f"{ord(t[0]) - 64:02d}{t[1:]}"
    products = [int(d) * (1 + place % 2) for place, d in enumerate(digits[:-1])]
    return sum(p // 10 + p % 10 for p in products) % 10 == int(digits[-1])


def german_pension(t: str) -> bool:
    digits = t[:8] + f"{ord(t[8]) - 64:02d}" + t[9:]
    products = [int(d) * w for d, w in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=False)]
    day = int(t[2:4])
    dated = is_date(t[6:8], t[4:6], str(day - 50 if day > 50 else day)) if t[4:6] != "00" else False  # noqa: PLR2004 (second numbers of a day)
    return dated and sum(p // 10 + p % 10 for p in products) % 10 == int(t[11])


def singapore(t: str) -> bool:
    return t[0] in "STFGM"


def hetu(t: str) -> bool:
    return is_date(t[4:6], t[2:4], t[:2]) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(t[:6] + t[7:10]) % 31] == t[-1]


def pps(t: str) -> bool:
    extra = "WABCDEFGHI".find(t[8]) * 9 if len(t) > 8 else 0  # noqa: PLR2004 (a second letter)
    return extra >= 0 and "WABCDEFGHIJKLMNOPQRSTUV"[(weighted(t[:7], (8, 7, 6, 5, 4, 3, 2)) + extra) % 23] == t[7]


def hkid(t: str) -> bool:
    letters = t[:-7].rjust(2)
    values = [36 if c == " " else ord(c) - 55 for c in letters] + [int(d) for d in t[-7:-1]]
    total = sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True))
    return "0A987654321"[total % 11] == t[-1]


def taiwanese(t: str) -> bool:
    number = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(t[0]) + 10
    return t[1] in "1289" and (number // 10 + number % 10 * 9 + weighted(t[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def rut(t: str) -> bool:
    total = sum(int(d) * (2 + place % 6) for place, d in enumerate(reversed(t[:-1])))
    return "0K987654321"[total % 11] == t[-1]


def dea(t: str) -> bool:
    total = int(t[2]) + int(t[4]) + int(t[6]) + 2 * (int(t[3]) + int(t[5]) + int(t[7]))
    return t[0] in "ABCDEFGHJKLMNPRSTUX" and total % 10 == int(t[8])


def german_vat(t: str) -> bool:
    return t.startswith("DE") and mod_11_10(t[2:])


def french_vat(t: str) -> bool:
    return t.startswith("FR") and t[2:4].isdigit() and (12 + 3 * (int(t[4:]) % 97)) % 97 == int(t[2:4])


def eu_vat(t: str) -> bool:
    return t[:2] in _EU_VAT


def italian_vat(t: str) -> bool:
    return t.startswith("IT") and luhn(t[2:])


def indian_plate(t: str) -> bool:
    return t[:2] in _INDIAN_STATES


def gstin(t: str) -> bool:
    return 1 <= int(t[:2]) <= 38 and t[13] == "Z"  # noqa: PLR2004 (states)


_OF_BUSINESSES = ((10, 4, 9, 3, 8, 2, 7, 1), "XMKECAWLJDB")
_OF_COMPANIES = ((10, 8, 6, 4, 9, 7, 5, 3, 1), "ZKCMDNERGWH")


def uen(t: str) -> bool:
    if t[0].isalpha():
        return t[0] in "STR"
    weights, letters = _OF_COMPANIES if len(t) > len(_OF_COMPANIES[0]) else _OF_BUSINESSES
    return letters[weighted(t[:-1], weights) % 11] == t[-1]
