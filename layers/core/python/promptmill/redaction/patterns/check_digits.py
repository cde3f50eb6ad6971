"""Check digits of identity numbers. Each function takes digits (and letters) without separators.

python-stdnum checks the same numbers and is not used here: it cleans every text again and reports by exceptions, which took
redaction 11% more time with the fourteen kinds that agree with ours, and 33% with all of them. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence

_VERHOEFF_PRODUCT = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_SHIFT = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812."""
    doubled = "".join([str(2 * int(digit)) for digit in digits[-2::-2]])
    return (sum(map(int, digits[::-2])) + sum(map(int, doubled))) % 10 == 0


def weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def verhoeff(digits: str) -> bool:
    check = "0"
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_PRODUCT[int(check)][int(_VERHOEFF_SHIFT[place % 8][int(digit)])]
    return check == "0"


def mod_11_10(digits: str) -> bool:
    """ISO 7064 mod 11,10."""
    check = 5
    for digit in digits:
        check = ((check or 10) * 2 % 11 + int(digit)) % 10
    return check == 1


def mod_97(text: str) -> bool:
    """ISO 7064 mod 97,10 over letters and digits."""
    return int("".join(str(int(char, 36)) for char in text)) % 97 == 1


def mrz(text: str) -> bool:
    """The check digit of travel documents (ICAO 9303), the last character."""
    total = sum(int(char, 36) * (7, 3, 1)[place % 3] for place, char in enumerate(text[:-1]))
    return text[-1].isdigit() and total % 10 == int(text[-1])


def brazilian(digits: str, weights: Sequence[int]) -> bool:
    """Two check digits mod 11, the second over the first too."""
    first = weighted(digits, weights[1:]) % 11
    second = weighted(digits, weights) % 11
    return digits[-2:] == f"{0 if first < 2 else 11 - first}{0 if second < 2 else 11 - second}"  # noqa: PLR2004 (remainders without a digit)


def is_date(year: str, month: str, day: str) -> bool:
    """Month and day of a calendar; the year may be of two digits."""
    return year.isdigit() and 1 <= int(month) <= 12 and 1 <= int(day) <= _DAYS[int(month)]  # noqa: PLR2004 (months)


_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
