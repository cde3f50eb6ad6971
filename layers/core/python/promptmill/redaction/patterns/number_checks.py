"""Whether digits are a number that a country could have given out: its check digits and its dates."""

from __future__ import annotations

from promptmill.redaction.patterns.check_digits import brazilian, is_date, luhn, mod_11_10, verhoeff, weighted


def varied(digits: str) -> bool:
    return len(set(digits)) > 1


def us_itin(d: str) -> bool:
    group = int(d[3:5])
    return d[0] == "9" and group in {*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)}


def routing(d: str) -> bool:
    known = int(d[:2]) in {*range(13), *range(21, 33), *range(61, 73), 80}
    return known and varied(d) and weighted(d, (3, 7, 1) * 3) % 10 == 0


def sin(d: str) -> bool:
    return d[0] not in "08" and varied(d) and luhn(d)


def tfn(d: str) -> bool:
    return varied(d) and weighted(d, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def acn(d: str) -> bool:
    return varied(d) and (10 - weighted(d, (8, 7, 6, 5, 4, 3, 2, 1)) % 10) % 10 == int(d[8])


def abn(d: str) -> bool:
    return d[0] != "0" and weighted(str(int(d[0]) - 1) + d[1:], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0


def australian_medicare(d: str) -> bool:
    return d[0] in "23456" and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(d[8])


def lanr(d: str) -> bool:
    return varied(d) and (10 - weighted(d, (4, 9, 4, 9, 4, 9)) % 10) % 10 == int(d[6]) and d[7:] != "00"


def npi(d: str) -> bool:
    return d[0] in "12" and varied(d[:-1]) and luhn("80840" + d)


def nhs(d: str) -> bool:
    return varied(d) and (11 - weighted(d, range(10, 1, -1)) % 11) % 11 == int(d[9])


def bsn(d: str) -> bool:
    return varied(d) and weighted(d, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def portuguese_nif(d: str) -> bool:
    check = 11 - weighted(d, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return d[0] in "1235689" and int(d[8]) == (check if check < 10 else 0)  # noqa: PLR2004 (one digit)


def austrian_svnr(d: str) -> bool:
    return is_date(d[8:], d[6:8], d[4:6]) and weighted(d[:3] + d[4:], (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11 == int(d[3])


def ahv(d: str) -> bool:
    return d.startswith("756") and weighted(d, (1, 3) * 6 + (1,)) % 10 == 0


def belgian(d: str) -> bool:
    return any((97 - int(prefix + d[:9]) % 97) == int(d[9:]) for prefix in ("", "2"))


def pesel(d: str) -> bool:
    month = int(d[2:4]) % 20
    return is_date(d[:2], str(month), d[4:6]) and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def pesel_any_date(d: str) -> bool:
    return weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def polish_nip(d: str) -> bool:
    return varied(d) and weighted(d, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == int(d[9])


def steuer_id(d: str) -> bool:
    return d[0] != "0" and max(map(d[:10].count, d[:10])) in (2, 3) and mod_11_10(d)


def rodne_cislo(d: str) -> bool:
    month = int(d[2:4]) % 50 % 20 if int(d[2:4]) % 50 > 20 else int(d[2:4]) % 50  # noqa: PLR2004 (months are moved by 20 and 50)
    return is_date(d[:2], str(month), d[4:6]) and int(d[:9]) % 11 % 10 == int(d[9])


def cnp(d: str) -> bool:
    total = weighted(d, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return d[0] in "12345678" and is_date(d[1:3], d[3:5], d[5:7]) and (1 if total == 10 else total) == int(d[12])  # noqa: PLR2004 (11 minus 1)


def egn(d: str) -> bool:
    month = int(d[2:4]) % 20
    return is_date(d[:2], str(month), d[4:6]) and weighted(d, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(d[9])


def personnummer(d: str) -> bool:
    d = d[-10:]
    day = int(d[4:6])
    return is_date(d[:2], d[2:4], str(day - 60 if day > 60 else day)) and luhn(d)  # noqa: PLR2004 (co-ordination numbers)


def swedish_company(d: str) -> bool:
    return int(d[2]) >= 2 and luhn(d)  # noqa: PLR2004 (tells companies from persons)


def fodselsnummer(d: str) -> bool:
    day = int(d[:2])
    first = (11 - weighted(d, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return is_date(d[4:6], d[2:4], str(day - 40 if day > 40 else day)) and d[9:] == f"{first}{second}"  # noqa: PLR2004 (D numbers)


def tckn(d: str) -> bool:
    odd, even = sum(map(int, d[:9:2])), sum(map(int, d[1:8:2]))
    return d[0] != "0" and (7 * odd - even) % 10 == int(d[9]) and sum(map(int, d[:10])) % 10 == int(d[10])


def amka(d: str) -> bool:
    return is_date(d[4:6], d[2:4], d[:2]) and luhn(d)


def south_african(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6]) and d[10] in "012" and luhn(d)


def resident_registration(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6]) and d[6] in "12345678"


def korean_company(d: str) -> bool:
    total = weighted(d, (1, 3, 7, 1, 3, 7, 1, 3)) + int(d[8]) * 5 // 10 + int(d[8]) * 5 % 10
    return varied(d) and (10 - total % 10) % 10 == int(d[9])


def my_number(d: str) -> bool:
    remainder = weighted(d, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return varied(d) and (0 if remainder < 2 else 11 - remainder) == int(d[11])  # noqa: PLR2004 (remainders without a digit)


def thai(d: str) -> bool:
    return d[0] != "0" and (11 - weighted(d, range(13, 1, -1)) % 11) % 10 == int(d[12])


def aadhaar(d: str) -> bool:
    return d[0] not in "01" and varied(d) and verhoeff(d)


def cpf(d: str) -> bool:
    return varied(d) and brazilian(d, range(11, 1, -1))


def cnpj(d: str) -> bool:
    return varied(d) and brazilian(d, (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))


def cuit(d: str) -> bool:
    check = (11 - weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return int(d[:2]) in {20, 23, 24, 25, 26, 27, 30, 33, 34} and check == int(d[10])


def snils(d: str) -> bool:
    check = weighted(d, range(9, 0, -1)) % 101 % 100
    return varied(d[:9]) and check == int(d[9:])


def luhn_13(d: str) -> bool:
    return varied(d) and luhn(d)


def french_nir(d: str) -> bool:
    month = int(d[3:5])
    return d[0] in "1278" and (1 <= month <= 12 or 20 <= month <= 42) and 97 - int(d[:13]) % 97 == int(d[13:])  # noqa: PLR2004 (months, known or not)


def chinese(d: str) -> bool:
    sums = weighted(d, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return is_date(d[6:10], d[10:12], d[12:14]) and "10X98765432"[sums % 11] == d[17]


def dated(d: str) -> bool:
    return is_date(d[:2], d[2:4], d[4:6])


def indonesian(d: str) -> bool:
    day = int(d[6:8])
    return d[0] in "123456789" and is_date(d[10:12], d[8:10], str(day - 40 if day > 40 else day))  # noqa: PLR2004 (women's days are moved by 40)


def any_digits(d: str) -> bool:
    return varied(d)
