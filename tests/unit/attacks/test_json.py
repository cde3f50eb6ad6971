"""JSON that breaks readers, in lines and in requests: each ends for itself, and its neighbours are answered."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.unit.attacks.house import OWN_REPLIES, House

GOOD = b'{"prompt":"good"}'
ANSWERED = "answered"
KEPT = ANSWERED
"""What nobody reads is a column of the user's own: it is kept, and goes nowhere."""


def asking(fields: bytes) -> bytes:
    return b'{"prompt":"x",' + fields + b"}"


def schema(text: bytes) -> bytes:
    return asking(b'"json_schema":' + text)


def in_property(text: bytes) -> bytes:
    return schema(b'{"type":"object","properties":{"a":' + text + b'},"required":["a"],"additionalProperties":false}')


ATTACKS: dict[str, tuple[bytes, str]] = {
    "a number beyond all floats": (asking(b'"temperature":1e400'), "invalid_json"),
    "a negative one": (asking(b'"temperature":-1e400'), "invalid_json"),
    "not a number": (asking(b'"temperature":NaN'), "invalid_json"),
    "infinity": (asking(b'"temperature":Infinity'), "invalid_json"),
    "an integer of 100,000 digits": (asking(b'"seed":' + b"9" * 100_000), "invalid_json"),
    "an integer of 400 digits": (asking(b'"temperature":' + b"9" * 400), "invalid_value"),
    "a seed of 30 digits": (asking(b'"seed":1' + b"0" * 29), ANSWERED),
    "countless tokens": (asking(b'"max_output_tokens":9223372036854775807'), "invalid_field"),
    "countless tokens as a float": (asking(b'"max_output_tokens":1e308'), "invalid_field"),
    "no tokens": (asking(b'"max_output_tokens":0'), "invalid_field"),
    "half a character": (b'{"prompt":"\\ud800"}', "invalid_json"),
    "half a character in an id": (asking(b'"id":"\\udfff"'), "invalid_json"),
    "half a character in a name": (asking(b'"\\ud800":1'), "invalid_json"),
    "an escaped zero": (b'{"prompt":"a\\u0000b","id":"\\u0000\\u001b[2J"}', ANSWERED),
    "a raw zero": (b'{"prompt":"a\x00b"}', "invalid_json"),
    "a name twice": (b'{"prompt":"first","prompt":"x","id":1,"id":2}', ANSWERED),
    "prompts under two names": (b'{"prompt":"x","messages":[{"role":"user","content":"y"}]}', "invalid_field"),
    "a deep id": (asking(b'"id":' + b"[" * 5_000 + b"]" * 5_000), "invalid_json"),
    "deep arrays": (asking(b'"messages":' + b"[" * 100_000 + b"]" * 100_000), "invalid_json"),
    "arrays that never close": (asking(b'"messages":' + b"[" * 100_000)[:-1], "invalid_json"),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json"),
    "bytes that are no text": (b'{"prompt":"\xff\xfe"}', "invalid_utf8"),
    "a slash in two bytes": (b'{"prompt":"\xc0\xaf"}', "invalid_utf8"),
    "the mark of a file that breaks off": (b'{"prompt":"x\x1a[cut off here]\x1a"}', "invalid_json"),
    "a template": (b'{"prompt":"{{ text }} {{ id }} {% for a in b %}"}', ANSWERED),
    "names of JavaScript's": (asking(b'"__proto__":{"admin":true},"constructor":1'), KEPT),
    "no object": (b"[]", "not_an_object"),
    "nothing": (b"null", "not_an_object"),
    "no JSON": (b"hello \x1b[2J", "invalid_json"),
    "50,000 stops": (asking(b'"stop":[' + b",".join([b'"a"'] * 50_000) + b"]"), ANSWERED),
    "20,000 messages": (
        b'{"messages":[' + b",".join([b'{"role":"user","content":"x"}'] * 20_000) + b"]}",
        ANSWERED,
    ),
    "a pattern that runs for ever": (in_property(b'{"type":"string","pattern":"^((a+)+)+$"}'), ANSWERED),
    "a schema from an address": (schema(b'{"$ref":"http://169.254.169.254/latest"}'), "invalid_field"),
    "a schema from a file": (in_property(b'{"$ref":"file:///etc/passwd"}'), "invalid_field"),
    "a schema from beside": (in_property(b'{"$ref":"other.json#/a"}'), "invalid_field"),
    "a schema from an address, in words of 2020": (
        in_property(b'{"$dynamicRef":"http://evil.example"}'),
        "invalid_field",
    ),
    "a schema from an address, in words of 2019": (in_property(b'{"$recursiveRef":"//evil.example"}'), "invalid_field"),
    "a schema that holds itself": (in_property(b'{"$ref":"#"}'), ANSWERED),
    "a schema that is none": (schema(b'{"properties":[1],"$defs":7,"required":{},"$ref":5}'), ANSWERED),
    "a schema of properties that are none": (in_property(b"5"), ANSWERED),
    "a deep schema": (schema(b'{"items":' * 90 + b"{}" + b"}" * 90), ANSWERED),
    "a schema that is too deep": (schema(b'{"items":' * 101 + b"{}" + b"}" * 101), "invalid_json"),
    "an address of a provider": (asking(b'"base_url":"http://169.254.169.254/"'), "unsupported_field"),
    "another key": (asking(b'"key":"promptmill/of-others","api_key":"sk"'), "unsupported_field"),
    "other routes": (asking(b'"routes":[{"model":"openai/dearest"}]'), KEPT),
    "hosted tools": (asking(b'"tools":[{"type":"mcp","server_url":"https://evil.example"}]'), "unsupported_field"),
    "a role": (b'{"messages":[{"role":"root","content":"x"}]}', "unsupported_field"),
    "an AWS role": (asking(b'"role_arn":"arn:aws:iam::123456789012:role/admin"'), KEPT),
    "another model, where the recipe decides": (asking(b'"model":"openai/gpt-9"'), ANSWERED),
    "another recipe": (asking(b'"recipe":"demo"'), KEPT),
}
"""Each with what becomes of it: an answer, or an error's code."""


def interleave(lines: Iterable[bytes]) -> list[bytes]:
    return [line for attack in lines for line in (GOOD, attack)]


def test_each_line_ends_for_itself_and_its_neighbours_are_answered(wired: House) -> None:
    outcomes = wired.run_lines("attack.jsonl", interleave(line for line, _ in ATTACKS.values()))

    assert {outcome["status"] for outcome in outcomes[::2]} == {"answered"}
    came = {name: verdict(outcome) for name, outcome in zip(ATTACKS, outcomes[1::2], strict=True)}
    assert came == {name: code for name, (_, code) in ATTACKS.items()}
    assert {sent.body["model"] for sent in wired.provider.sent} == {"m"}
    for word in (b"__proto__", b"dearest", b"arn:aws:iam", b"demo", b"169.254"):
        assert not any(word in sent.data for sent in wired.provider.sent), word
    assert all(f"line {2 * n + 2}: " in str(outcome) for n, outcome in enumerate(outcomes[1::2]) if is_ours(outcome))


def verdict(outcome: dict[str, object]) -> str:
    error = outcome.get("error")
    return str(error["code"]) if isinstance(error, dict) else str(outcome["status"])


def is_ours(outcome: dict[str, object]) -> bool:
    return verdict(outcome) not in (ANSWERED, "invalid_value")


NO_ENVELOPE = {"no object", "nothing", "no JSON", "another recipe"}
"""Attacks that cannot be put into a request's message."""
TOO_LARGE = 250_000


def test_each_request_ends_for_itself_and_its_neighbours_are_answered(wired: House) -> None:
    asked: dict[str, tuple[bytes, str]] = {}
    for n, (name, (line, code)) in enumerate(ATTACKS.items()):
        if name not in NO_ENVELOPE and len(line) < TOO_LARGE and is_text(line):
            head = f'{{"recipe":"reviews","reply_to":"{OWN_REPLIES}","id":"a{n}",'.encode()
            asked[f"a{n}"] = (head + line.removeprefix(b"{").replace(b'"id":', b'"id_":'), code)
    good = [json.dumps({"recipe": "reviews", "reply_to": OWN_REPLIES, "id": f"g{n}", "prompt": "x"}) for n in range(9)]
    replies = wired.publish(*good[:4], *(body.decode() for body, _ in asked.values()), *good[4:])

    assert {replies[f"g{n}"]["status"] for n in range(9)} == {"answered"}
    came = {name: verdict(reply) for name, reply in replies.items() if name in asked}
    assert came == {name: code for name, (_, code) in asked.items()}


HEAD = f'"recipe":"reviews","reply_to":"{OWN_REPLIES}","id":"mine"'
DEEP = "[" * 50_000
UNREADABLE = {
    "deep, and the envelope before it": f'{{{HEAD},"prompt":{DEEP}{DEEP.replace("[", "]")}}}',
    "deep, and the envelope behind it": f'{{"prompt":{DEEP}{DEEP.replace("[", "]")},{HEAD}}}',
    "deep, and an envelope in its depths": f'{{"x":[{{"id":"deeper","recipe":"x"}}],{HEAD},"prompt":{DEEP}',
    "cut off": f'{{{HEAD},"prompt":"a text that never en',
    "cut off in an escape": f'{{{HEAD},"prompt":"a text that never en\\',
    "a comma too many": f"{{{HEAD},}}",
    "escapes in the names": f'{{"re\u0063ipe":"reviews",{HEAD.partition(",")[2]},"prompt":{DEEP}',
    "the last of two counts": f'{{"id":"first",{HEAD},"prompt":{DEEP}',
    "spaces": f'{{ {HEAD.replace(":", " : ")} , "prompt" : {DEEP}',
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_message_that_nobody_can_read_whole_is_told_so_if_its_envelope_can_be_read(wired: House, name: str) -> None:
    assert verdict(wired.publish(UNREADABLE[name])["mine"]) == "invalid_json"


def is_text(line: bytes) -> bool:
    """Return whether SQS takes it: it allows few of the control characters."""
    try:
        return all(one >= " " for one in line.decode())
    except UnicodeDecodeError:
        return False


IMAGE = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
ODD: dict[str, tuple[dict[str, object], str]] = {
    "id-long": ({"id": "i" * 513, "prompt": "x"}, "invalid_envelope"),
    "expires-weird": ({"expires_at": "9999-12-31T23:59:59-23:59", "prompt": "x"}, "invalid_envelope"),
    "expires-past": ({"expires_at": "2001-01-01T00:00:00+14:00", "prompt": "x"}, "expired"),
    "image-url": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "invalid_attachment"),
    "body-and-key": ({"prompt": "x", "body_key": "requests/reviews/a.json"}, "invalid_envelope"),
    "fine": ({"prompt": "x", "expires_at": "9998-01-01T00:00:00Z"}, ANSWERED),
}


def test_odd_envelopes_are_told_so(wired: House) -> None:
    for name, (fields, code) in ODD.items():
        (reply,) = wired.publish(
            json.dumps({"recipe": "reviews", "reply_to": OWN_REPLIES, "id": name, **fields})
        ).values()
        assert verdict(reply) == code, name
    assert len(wired.provider.sent) == 1
