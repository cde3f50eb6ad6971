"""What is no personal data stays: words that somebody's password also is, and numbers that are only numbers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import ALL_TYPES
from promptmill.redaction.patterns.structured import StructuredDetector
from promptmill.redaction.redact_text import redact_text

DETECTOR = StructuredDetector()
POLICY = RedactionPolicy(types=ALL_TYPES)
RANDOM = random.Random(11)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (
            "The password is 'admin'. Log in as admin, call the administrator.",
            "The password is '<PASSWORD_1>'. Log in as admin, call the administrator.",
        ),
        (
            'My password is "password" - how do I reset my password?',
            'My password is "password" - how do I reset my password?',
        ),
        ("Employee ID: 10000. It costs 10000, or 100000.", "Employee ID: <NATIONAL_ID_1>. It costs 10000, or 100000."),
        (
            "account number 483920, later 483920, not 4839201",
            "account number <BANK_ACCOUNT_1>, later <BANK_ACCOUNT_1>, not 4839201",
        ),
        ("password: hunter2x, and hunter2x, not hunter2xs", "password: <PASSWORD_1>, and <PASSWORD_1>, not hunter2xs"),
    ],
)
def test_only_whole_words_that_mean_nothing_else_are_replaced_again(text: str, redacted: str) -> None:
    assert redact_text(text, POLICY).text == redacted


def numbers(kind: str) -> str:
    """A hundred lines of a kind of number, the same ones in every run."""
    one: dict[str, Callable[[], str]] = {
        "floats": lambda: f"w,{RANDOM.uniform(-10, 10)!r},{RANDOM.random()!r}",
        "points of a plane": lambda: f"{RANDOM.uniform(-90, 90):.7f},{RANDOM.uniform(-180, 180):.7f}",
        "epochs": lambda: (
            f"{RANDOM.randrange(10**9, 2 * 10**9)},{RANDOM.randrange(10**12, 2 * 10**12)},{RANDOM.randrange(10**9)}"
        ),
        "orders": lambda: f"{RANDOM.randrange(10**9, 10**10)},{RANDOM.randrange(10**12, 10**13)},{RANDOM.randrange(9)}",
        "blocks": lambda: (
            f"received block blk_-{RANDOM.randrange(10**18, 9 * 10**18)} of size {RANDOM.randrange(10**8)}"
        ),
        "json": lambda: f'{{"loss": {RANDOM.random()!r}, "ratio": {RANDOM.uniform(1, 9)!r}}}',
        "log": lambda: f"- {RANDOM.randrange(10**9, 2 * 10**9)} 2005.11.04 R02 RAS KERNEL INFO",
        "times": lambda: (
            f"03-17 16:15:{RANDOM.randrange(10, 60)}.001  {RANDOM.randrange(1000, 9999)}  2096 D Power: ready"
        ),
    }
    return "\n".join(["a,b,c", *(one[kind]() for _ in range(100))])


@pytest.mark.parametrize("kind", ["floats", "points of a plane", "epochs", "orders", "blocks", "json", "log", "times"])
def test_numbers_that_are_only_numbers_stay(kind: str) -> None:
    text = numbers(kind)
    assert [text[span.start : span.end] for span in DETECTOR.find(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "Pass `native=True` to the call, or pass `message_history=` to seed it.",
        "userId=0 lock=12194794",
        'Client(admin_password="adminPassword", user_token=admin_user_token)',
        "delta -48.39062499999998 and 3.36064074968417",
    ],
)
def test_code_and_logs_stay(text: str) -> None:
    assert DETECTOR.find(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Please update 6759649826438453 and go on", "card", "6759649826438453"),
        ("Please update 6799990100000000019 today.", "card", "6799990100000000019"),
        ("4111111111111111, 5500000000000004, 4012888888881881", "card", "4111111111111111"),
        ('curl -u "ann:p@ss" https://x.example', "password", "p@ss"),
        ("curl --user elastic:Pa$word https://x.example", "password", "Pa$word"),
        ("latitude,longitude\n48.858371,2.294481\n40.689247,-74.044502", "coordinates", "40.689247,-74.044502"),
    ],
)
def test_values_beside_harmless_numbers_are_still_found(text: str, kind: str, value: str) -> None:
    assert (kind, value) in [(span.type, text[span.start : span.end]) for span in DETECTOR.find(text)]


def test_a_quote_that_closes_in_json_within_a_string_stays() -> None:
    text = 'Data: {"nested":"{\\"token\\":\\"q8Zr5tY2uI9oP3aS\\"}"} end'
    assert [text[span.start : span.end] for span in DETECTOR.find(text)] == ["q8Zr5tY2uI9oP3aS"]


@pytest.mark.parametrize(
    "text",
    [
        "See https://docs.acme-tools.com/ and https://acme-tools.com/guide/getting-started#install for more.",
        "The license is at http://www.gnu.org/licenses/gpl-3.0.html, the FAQ at https://gcc.gnu.org/faq.html",
        "Project-URL: Homepage, https://lemonade.io/",
        "Clone git@git.acme-tools.com:team/repo.git, mails come from no-reply@acme-tools.com",
        "work.fl, work.fm, work.fr = work.fm, work.fr, f",
        "sum(number[::2]) + number[1::2]",
        'NAMES = ("user", "password", "label")',
        ":param rotate_master_user_password: Specifies whether to rotate it.",
        "fixed in PR79501 and PR101940",
        '{"Name": "MyDatabaseSecret",\n  "VersionStages": ["a"]}',
        "see list-settings-of-your-account-1549523130939",
        'jsii_type="aws-cdk-lib.aws_msk.CfnBatchScramSecret0Props"',
        "-----BEGIN PRIVATE KEY-----this is not a private key-----END PRIVATE KEY-----",
        "npm install lodash@4.17.21 sax@0.1.1",
        "Look at https://shop.acme-tools.com/catalog/kitchen?page=2&sort=price, please",
    ],
)
def test_documents_and_programs_that_tell_of_nobody_stay(text: str) -> None:
    assert DETECTOR.find(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My website is https://anna-roth.de/ now", "https://anna-roth.de/"),
        ("see https://acme.io/users/anna-roth/photos", "https://acme.io/users/anna-roth/photos"),
        ("https://shop.acme.io/cart?email=anna%40roth.de is hers", "https://shop.acme.io/cart?email=anna%40roth.de"),
        ("the file https://acme.io/reports/20391177", "https://acme.io/reports/20391177"),
        ("twitter.com/annaroth is me", "twitter.com/annaroth"),
        ("http://www.lysator.liu.se/~anna/cv.html", "http://www.lysator.liu.se/~anna/cv.html"),
        ("https://www.acme.io/store/abc/", "https://www.acme.io/store/abc/"),
        ("open https://acme.io/r/x8Kd92mQp4Lw7ZtYb3Nc now", "https://acme.io/r/x8Kd92mQp4Lw7ZtYb3Nc"),
    ],
)
def test_addresses_that_tell_of_somebody_are_hidden(text: str, value: str) -> None:
    assert value in redact_text_values(text)


def redact_text_values(text: str) -> list[str]:
    return [text[span.start : span.end] for span in DETECTOR.find(text)]
