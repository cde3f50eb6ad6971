"""What is encoded is searched as well, and hidden where it stands in its encoded form."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.redaction.patterns.decoding import DecodedText
from promptmill.redaction.patterns.structured import StructuredDetector
from promptmill.redaction.spans import Span

DETECTOR = StructuredDetector()
ENCODINGS: dict[str, Callable[[str], str]] = {
    "entities": lambda text: "".join(char if char.isalnum() else f"&#{ord(char)};" for char in text),
    "entities in hexadecimal": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "percent": lambda text: quote(text, safe=""),
    "unicode escapes": lambda text: "".join(char if char.isalnum() else f"\\u{ord(char):04x}" for char in text),
    "quotes of HTML": html.escape,
    "base64": lambda text: base64.b64encode(f'{{"note": "{text}"}}'.encode()).decode(),
    "base64 of URLs": lambda text: base64.urlsafe_b64encode(f"the note is: {text}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ann@example.com"),
        ("card", "4111 1111 1111 1111"),
        ("phone", "+1 212 555 0147"),
        ("us_ssn", "536-22-8721"),
    ],
)
def test_a_value_is_found_in_every_encoding(kind: str, value: str, encoding: str) -> None:
    encoded = ENCODINGS[encoding](value)
    text = f"before {encoded} behind"
    assert [(span.type, text[span.start : span.end]) for span in DETECTOR.find(text)] == [(kind, encoded)]


@given(st.text(alphabet="ab&#;%\\u0041é日64amp ", max_size=60))
def test_decoding_keeps_offsets(text: str) -> None:
    decoded = DecodedText(text)
    places = [decoded.to_original(Span(at, at + 1, "email", 1.0)) for at in range(len(decoded.text))]
    assert all(0 <= place.start < place.end <= len(text) for place in places)
    assert [place.start for place in places] == sorted(place.start for place in places)
    assert all(
        text[place.start : place.end] == char or place.end - place.start > 1
        for char, place in zip(decoded.text, places, strict=True)
    )


KEY = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFt"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (
            f"token:\n{KEY}\nZSI6IkpvaG4gRG9lIn0.dozjgNryP4J3jVm\n\nend",
            "api_key",
            f"{KEY}\nZSI6IkpvaG4gRG9lIn0.dozjgNryP4J3jVm",
        ),
        ("IBAN: DE89 3704 0044\n0532 0130 00 it is", "iban", "DE89 3704 0044\n0532 0130 00"),
    ],
)
def test_a_value_is_found_over_line_ends(text: str, kind: str, value: str) -> None:
    assert (kind, value) in [(span.type, text[span.start : span.end]) for span in DETECTOR.find(text)]


def test_every_value_of_a_secret_of_kubernetes_is_hidden() -> None:
    secret = {"extra": "YWRtaW46cGFzc3dvcmQ=", "key.pem": "LS0tLS1CRUdJTg=="}
    data = "".join(f"  {name}: {value}\n" for name, value in secret.items())
    text = f"kind: ConfigMap\ndata:\n  a: plain\n---\napiVersion: v1\nkind: Secret\ndata:\n{data}type: Opaque\n"
    assert [text[span.start : span.end] for span in DETECTOR.find(text)] == list(secret.values())


def test_a_blob_that_holds_nothing_personal_stays() -> None:
    assert DETECTOR.find("x " + base64.b64encode(json.dumps({"width": 12, "height": 40}).encode()).decode()) == []
