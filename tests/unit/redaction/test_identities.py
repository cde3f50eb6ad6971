"""Identity numbers of many countries: specimens that stand in public documents, and what random numbers cost."""

from __future__ import annotations

import importlib
import random
import string
from collections.abc import Callable

import pytest

from promptmill.redaction.patterns import check_digits as check
from promptmill.redaction.patterns.structured import StructuredDetector

DETECTOR = StructuredDetector(secrets=False)
Check = Callable[[str], bool]
SAME: list[tuple[Check, str, str]] = [
    (check.sin, "ca.sin", "9" * 9), (check.tfn, "au.tfn", "9" * 9), (check.acn, "au.acn", "9" * 9), (check.bsn, "nl.bsn", "9" * 9),
    (check.luhn_13, "fr.siren", "9" * 9), (check.nhs, "gb.nhs", "9" * 10), (check.polish_nip, "pl.nip", "9" * 10),
    (check.tckn, "tr.tckimlik", "9" * 11), (check.cpf, "br.cpf", "9" * 11), (check.mod_11_10, "hr.oib", "9" * 11),
    (check.aadhaar, "in_.aadhaar", "9" * 12), (check.my_number, "jp.in_", "9" * 12), (check.ahv, "ch.ssn", "756" + "9" * 10),
    (check.cnpj, "br.cnpj", "9" * 14), (check.spanish, "es.dni", "99999999A"), (check.spanish, "es.nie", "X9999999A"),
    (check.spanish_company, "es.cif", "A99999999"), (check.pps, "ie.pps", "9999999A"), (check.rut, "cl.rut", "99999999A"),
    (check.uen, "sg.uen", "99999999A"),
]  # fmt: skip
"""Numbers that python-stdnum and we judge alike."""
WIDER: list[tuple[Check, str, str]] = [
    (check.abn, "au.abn", "9" * 11), (check.belgian, "be.nn", "9" * 11), (check.pesel, "pl.pesel", "9" * 11),
    (check.steuer_id, "de.idnr", "9" * 11), (check.egn, "bg.egn", "9" * 10), (check.personnummer, "se.personnummer", "9" * 10),
    (check.rodne_cislo, "cz.rc", "9" * 10), (check.thai, "th.pin", "9" * 13), (check.south_african, "za.idnr", "9" * 13),
    (check.hetu, "fi.hetu", "999999-999A"), (check.german_vat, "de.vat", "DE999999999"),
    (check.french_vat, "fr.tva", "FR99999999999"), (check.italian_vat, "it.iva", "IT99999999999"),
]  # fmt: skip
"""Numbers of which we accept more: python-stdnum also asks whether the day has been and the office exists, and people who
make up a number for an example do not."""


def numbers_like(shape: str) -> list[str]:
    """Return numbers at random: A stands for a letter, 9 for a digit."""
    source, alphabets = random.Random(5), {"A": string.ascii_uppercase, "9": string.digits}
    numbers = ["".join(source.choice(alphabets.get(sign, sign)) for sign in shape) for _ in range(20_000)]
    return [number for number in numbers if len(set(number)) > 1]


def judged_by_stdnum(module: str, numbers: list[str]) -> set[str]:
    standard = importlib.import_module(f"stdnum.{module}")
    return {number for number in numbers if standard.is_valid(number)}


@pytest.mark.parametrize(("ours", "module", "shape"), SAME)
def test_check_digits_are_those_of_the_standard_library_of_numbers(ours: Check, module: str, shape: str) -> None:
    numbers = numbers_like(shape)
    valid = judged_by_stdnum(module, numbers)
    assert valid
    assert {number for number in numbers if ours(number)} == valid


@pytest.mark.parametrize(("ours", "module", "shape"), WIDER)
def test_what_the_standard_library_of_numbers_accepts_is_accepted(ours: Check, module: str, shape: str) -> None:
    valid = judged_by_stdnum(module, numbers_like(shape))
    assert valid
    assert valid <= set(filter(ours, valid))


@pytest.mark.parametrize(
    "text",
    [
        "my SIN is 130-692-544", "AA 12 34 56 B", "12345678Z", "X1234567L", "S2740116C", "53125226D", "1EG4-TE5-MK73",
        "11010519491231002X", "CPF 111.444.777-35", "756.9217.0769.85", "PESEL 44051401458", "Aadhaar 2345 6789 0124",
        "A123456780", "65070803A019", "131052-308T", "12.345.678-5", "HRB 12345", "NPI 1234567893",
        "passport number XG9382049", "driver's license number is 2270-66-1551", "MRN 00987654", "routing number 124003116",
        "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ", "00-1A-2B-3C-4D-5E", "born on 3 March 1980", "lat 52.520008, 13.404954",
    ],
)  # fmt: skip
def test_a_number_is_found(text: str) -> None:
    assert DETECTOR.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 130692544 is late",
        "invoice 44051401450",
        "the 12345678901 of them",
        "FF:FF:FF:FF:FF:FF",
        "v1.2.3-4567890",
    ],
)
def test_a_number_of_another_kind_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


def test_random_numbers_in_a_sentence_are_seldom_taken_for_somebodys() -> None:
    source = random.Random(3)
    texts = [f"we counted {source.randrange(10**8, 10**11)} of them" for _ in range(2_000)]
    assert sum(bool(DETECTOR.find(text)) for text in texts) < 60
