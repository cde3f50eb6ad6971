"""Test what the structured detector finds and what it leaves alone. Every key is made up or an issuer's own example."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as stdnum_iban
from stdnum import luhn as stdnum_luhn

from promptmill.redaction import ALL_TYPES, Span
from promptmill.redaction.patterns.accounts import is_iban
from promptmill.redaction.patterns.check_digits import luhn
from promptmill.redaction.patterns.structured import StructuredDetector
from promptmill.redaction.spans import unite

DETECTOR = StructuredDetector()


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in DETECTOR.find(text)]


def joined(*parts: str) -> str:
    """Keys are put together here, so that scanners of sources do not take them for real ones."""
    return "".join(parts)


VALUES = [
    ("email", "alice@example.com"),
    ("email", "First.Last+tag@sub.example.co.uk"),
    ("email", "jürgen@müller.example"),
    ("email", "a@xn--d1acufc.xn--p1ai"),
    ("phone", "555-123-4567"),
    ("phone", "(415) 555-0198"),
    ("phone", "+1 (415) 555-0198 ext. 12"),
    ("phone", "+1-743-438-6774x62406"),
    ("phone", "001-755-329-4431"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+49 (0)30 1234567"),
    ("phone", "+41 (0)85 806 98 67"),
    ("phone", "06 12 34 56 78"),
    ("phone", "02.27.96.63.08"),
    ("phone", "020 7946 0958"),
    ("phone", "030/1234567"),
    ("phone", "0171 1234567"),
    ("phone", "(85) 5986-8343"),
    ("card", "4111111111111111"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "3782 822463 10005"),
    ("card", "30569309025904"),
    ("iban", "DE89370400440532013000"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb82 west 1234 5698 7654 32"),
    ("iban", "NO93 8601 1117 947"),
    ("us_ssn", "123-45-6789"),
    ("us_ssn", "078 05 1120"),
    ("ip", "192.168.1.17"),
    ("ip", "10.0.0.0/8"),
    ("ip", "2001:db8::8a2e:370:7334"),
    ("ip", "fe80::1%eth0"),
    ("ip", "::ffff:10.0.0.1"),
    ("api_key", joined("sk-", "proj-", "a1B2c3D4" * 5)),
    ("api_key", joined("sk-", "ant-api03-", "a1B2c3D4" * 5)),
    ("api_key", joined("AKIA", "IOSFODNN7EXAMPLE")),
    ("api_key", joined("gh", "p_", "a1B2c3D4e5" * 4)),
    ("api_key", joined("github", "_pat_", "11ABCDEFG0" * 4)),
    ("api_key", joined("xo", "xb-", "123456789012-abcDEF123456")),
    ("api_key", joined("AI", "za", "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q")),
    ("api_key", joined("sk", "_live_", "a1B2c3D4e5F6g7H8")),
    ("api_key", joined("ey", "J0eXAiOiJKV1Q.ey", "Jpc3MiOiJqb2UifQ.dBjftJeZ4CVP")),
    ("api_key", joined("hf", "_", "AbCdEfGhIj" * 3, "Kl12")),
    ("api_key", joined("gl", "pat-", "a1B2c3D4e5F6g7H8i9J0")),
]
AROUND = ["{}", "It is {}.", "({})", "a, {}, b", "value={}\n", "\t{}\t", '"{}"', "x: {};", "¿{}?", "日本 {} 語"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_a_value_is_found_whole_wherever_it_stands(kind: str, value: str, around: str) -> None:
    assert found(around.format(value)) == [(kind, value)]


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_a_value_is_found_between_values(kind: str, value: str) -> None:
    text = f"mail a@b.example {value} and {value}\n{value} 10.1.2.3"
    assert found(text) == [("email", "a@b.example"), *[(kind, value)] * 3, ("ip", "10.1.2.3")]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("call 5551234567 now", "phone", "5551234567"),
        ("Tel: 9885 1152", "phone", "9885 1152"),
        ("phone: 5551234567", "phone", "5551234567"),
        ("phoneNumber: 5551234567", "phone", "5551234567"),
        ("mobile_no: 73 448 266", "phone", "73 448 266"),
        ("50-98-28-96 (fax)", "phone", "50-98-28-96"),
        ("WhatsApp me on 699 956 915", "phone", "699 956 915"),
        ("2026-11-22 555-123-4567", "phone", "555-123-4567"),
        ("75021 555-123-4567", "phone", "555-123-4567"),
        ("call me\u2014555-123-4567", "phone", "555-123-4567"),
        ("555\u2011123\u20114567", "phone", "555\u2011123\u20114567"),
        ("+44\u00a020\u00a07946\u00a00958", "phone", "+44\u00a020\u00a07946\u00a00958"),
        ("ssn 123456789", "us_ssn", "123456789"),
        ("Social Security Number: 123456789", "us_ssn", "123456789"),
        ("card 4539 1488 0343 6460", "card", "4539 1488 0343 6460"),  # a digit is wrong, but what else could it be
        ("ｃａｌｌ ５５５-１２３-４５６７", "phone", "５５５-１２３-４５６７"),
        ('{"a": "x\\nbob@y.example"}', "email", "bob@y.example"),
        ('"tel\\n555-123-4567"', "phone", "555-123-4567"),
        ("https://user:pa55@host.example/x", "url_credentials", "user:pa55"),
        ("postgres://app:p%40ss:w@db.example:5432/x", "url_credentials", "app:p%40ss:w"),
        ("redis://:secret@10.0.0.1", "url_credentials", ":secret"),
        ("Authorization: Bearer abc123DEF456ghi789", "api_key", "abc123DEF456ghi789"),
        ('api_key = "0123456789abcdef0123"', "api_key", "0123456789abcdef0123"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "api_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ('aws_secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"', "api_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("?access_token=0123456789abcdef0123&x", "api_key", "0123456789abcdef0123"),
    ],
)  # fmt: skip
def test_what_only_its_surroundings_tell(text: str, kind: str, value: str) -> None:
    assert (kind, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "on 2026-11-22 at 12:30:45",
        "2026-11-22T09:15:00Z",
        "11/22/2026",
        "22.11.2026",
        "2026/11/22 10:15",
        "from 2019-2026, 1985 - 1987",
        "version 1.2.3, v10.0.19041.1, release 4.1.2.3",
        "Chrome/99.0.48.51 Safari/53.7.36.1",
        "section 4.1.2.3",
        "it costs $1,234,567.89 or 12.345.678,90",
        "USD 1234567.89 and 0.2291686506322067",
        "order 123-456-7890",
        "Order #5551234567",
        "invoice no. 0612345678",
        "part number: 555-123-4567-A",
        "ISBN 0-306-40615-2",
        "tracking 1Z999AA10123456784",
        "123e4567-e89b-12d3-a456-426614174000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "1699999999 1700000000123",
        "4111111111111112",  # no card by its check digit
        "1234567890123456",
        "DE89370400440532013001",
        "DE89 3704 0044 0532 0130 0",
        "000-12-3456, 666-12-3456, 123-00-4567, 123-45-0000",
        "256.1.1.1 1.2.3",
        "std::vector<a::b> :: 12:34 ab:cd:ef",
        "icon@2x.png @someone a@b",
        "https://host.example/path@x git@host",
        "sk-loading-indicator-wrapper-inner",
        "the secret: none-of-your-business-really",
        'token = "your_api_key_goes_right_here"',
        "the token is described in /docs/authentication/tokens",
        "10-60 3-4 1,2,3,4,5,6,7,8,9,10",
        "90210-1234",
        "-----BEGIN CERTIFICATE-----",
        "",
        " ",
    ],
)
def test_what_is_none_of_anybodys_business(text: str) -> None:
    assert found(text) == []


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1\nq83vEjRWeJ==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "block",
    [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("RSA ", ""),
        PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
        PEM.replace("RSA ", "OPENSSH "),
    ],
)
def test_private_keys_are_found_as_blocks(block: str) -> None:
    assert found(f"before {block} after") == [("private_key", block)]


def test_a_private_key_that_was_cut_off_is_found_to_its_end() -> None:
    cut = PEM[:60]
    assert found(f"x: {cut}") == [("private_key", cut)]


def test_each_of_many_addresses_is_found() -> None:
    addresses = [f"user{n}@host{n}.example" for n in range(2_000)]
    assert [value for _, value in found(",".join(addresses))] == addresses


def test_the_types_are_those_of_the_policy() -> None:
    assert {kind for kind, _ in VALUES} <= set(ALL_TYPES)


def test_overlapping_spans_become_one_of_the_stronger_type() -> None:
    spans = [Span(5, 9, "phone", 0.5), Span(0, 6, "card", 0.9), Span(20, 25, "ip", 1), Span(8, 12, "email", 0.2)]
    assert unite(spans) == [Span(0, 12, "email", 0.9), Span(20, 25, "ip", 1)]


def test_neighbours_stay_apart() -> None:
    spans = [Span(0, 5, "email", 1), Span(5, 9, "email", 1)]
    assert unite(spans) == spans


@given(st.text("0123456789", min_size=2, max_size=20))
def test_luhn_is_the_standard_one(digits: str) -> None:
    assert luhn(digits) == stdnum_luhn.is_valid(digits)


IBANS = st.sampled_from(["DE", "GB", "FR", "NL", "CH", "NO", "PL", "ES", "IT", "SE"]).flatmap(
    lambda country: st.integers(0, 10**18 - 1).map(lambda n: f"{country}{{}}{n:018d}")
)


@given(IBANS, st.integers(0, 99))
def test_mod_97_is_the_standard_one(form: str, check: int) -> None:
    number = form.format(f"{check:02d}")
    assert is_iban(number) == (int(stdnum_iban.calc_check_digits(number)) % 97 == check % 97)


@given(st.text(max_size=300))
def test_any_text_gives_ordered_spans_within_it(text: str) -> None:
    reached = 0
    for span in DETECTOR.find(text):
        assert reached <= span.start < span.end <= len(text)
        assert span.type in ALL_TYPES
        assert 0 < span.score <= 1
        reached = span.end


ALPHABET = "0123456789 .-/()+@:xabAB\n\\\"'<>%#_=\u2011\u00a0é"


@given(st.text(ALPHABET, max_size=120))
def test_texts_full_of_digits_and_separators_are_no_trouble(text: str) -> None:
    assert all(text[span.start : span.end].strip() for span in DETECTOR.find(text))


@pytest.mark.parametrize(
    "piece",
    ["1 ", "1", "(1", "+1-", "a@", "a.", "a@a.", "::", "1:", "1.", "aa11 ", "://a:", "sk-", "Bearer ", "\\n", "token=",
     "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaaaa.", "5551234567 ", "call ", "4111 1111 ", "12/12/2020 "],
)  # fmt: skip
def test_long_and_hostile_texts_come_to_an_end(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert all(span.end <= len(text) for span in DETECTOR.find(text))


def test_random_digits_are_seldom_taken_for_cards() -> None:
    source = random.Random(7)
    numbers = [str(source.randrange(10**15, 10**16)) for _ in range(2_000)]
    assert sum("card" in {kind for kind, _ in found(number)} for number in numbers) < 100
