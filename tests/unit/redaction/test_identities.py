"""Identity numbers of many countries: specimens that stand in public documents, and what random numbers cost."""

from __future__ import annotations

import random

import pytest
from stdnum.au import abn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.gb import nhs
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.tr import tckimlik

from promptmill.redaction.patterns import number_checks as check
from promptmill.redaction.patterns.structured import StructuredEngine

ENGINE = StructuredEngine(secrets=False)
STANDARD = [
    (check.abn, abn.is_valid, 11), (check.belgian, nn.is_valid, 11), (check.cpf, cpf.is_valid, 11),
    (check.nhs, nhs.is_valid, 10), (check.bsn, bsn.is_valid, 9), (check.pesel, pesel.is_valid, 11),
    (check.tckn, tckimlik.is_valid, 11), (check.steuer_id, idnr.is_valid, 11),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "standard", "length"), STANDARD)
def test_what_the_standard_library_of_numbers_accepts_is_accepted(ours: object, standard: object, length: int) -> None:
    assert callable(ours)
    assert callable(standard)
    source = random.Random(5)
    numbers = [f"{source.randrange(10**length):0{length}d}" for _ in range(20_000)]
    valid = [number for number in numbers if standard(number) and len(set(number)) > 1]
    assert valid or length == 11
    assert [number for number in valid if not ours(number)] == []


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
    assert ENGINE.find(text)


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
    assert ENGINE.find(text) == []


def test_random_numbers_in_a_sentence_are_seldom_taken_for_somebodys() -> None:
    source = random.Random(3)
    texts = [f"we counted {source.randrange(10**8, 10**11)} of them" for _ in range(2_000)]
    assert sum(bool(ENGINE.find(text)) for text in texts) < 60
