"""A record redacted by detectors that are slow or fail."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

import pytest

from promptmill.calls.call_gate import SendingEndedError
from promptmill.calls.complete_record import TRIES, Searched, redact_record
from promptmill.domain.completion import CompletionRequest, JsonSchema, Message, Text
from promptmill.domain.errors import PromptmillError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import OwnPattern, RedactionPolicy
from promptmill.ports.detectors import ExternalDetector, Findings
from promptmill.redaction import KNOWN_TYPES, Span
from promptmill.redaction.policy import DetectorMissingError
from tests.fakes.clock import FakeClock
from tests.fakes.sending import OpenSending

NER = RedactionPolicy(types=KNOWN_TYPES, engines=("structured", "ner"))
BOTH = RedactionPolicy(types=KNOWN_TYPES, engines=("structured", "ner", "comprehend"))
THROTTLED = RetryLaterError("ThrottlingException", "my secret", status=429)
OVERLOADED = RetryLaterError("InternalServerException", "my secret", status=500)


class Words:
    """Both ports: finds words that it knows; fails as scripted before that."""

    def __init__(self, *failures: Exception, **words: str) -> None:
        self.asked: list[str] = []
        self.failures, self.words = list(failures), words

    def detector(self, name: str) -> ExternalDetector:
        if name not in ("ner", "comprehend"):
            raise DetectorMissingError(name)
        return self

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        del policy
        self.asked.append(text)
        if self.failures:
            raise self.failures.pop(0)
        found = [Span(text.find(word), text.find(word) + len(word), kind, 0.9) for word, kind in self.words.items()]
        return Findings(tuple(span for span in found if span.start >= 0), {"words calls": 1})


def ask(text: str, **fields: object) -> CompletionRequest:
    return CompletionRequest(messages=(Message("user", (Text(text),)),), **fields)  # type: ignore[arg-type]


async def redacted(
    request: CompletionRequest, detectors: Words | None, policy: RedactionPolicy = NER, *, ends_at: float = math.inf
) -> Searched:
    sending = OpenSending(FakeClock(), ends_at=ends_at)
    return await redact_record(request, policy, detectors=detectors, patience=sending, rng=random.Random(7))


def text_of(searched: Searched) -> str:
    (part,) = searched.redacted.request.messages[0].parts
    assert isinstance(part, Text)
    return part.text


async def test_the_finds_of_all_detectors_are_united() -> None:
    searched = await redacted(ask("Ann wrote to a@b.example"), Words(Ann="person"))
    assert text_of(searched) == "<PERSON_1> wrote to <EMAIL_1>"
    assert searched.redacted.map == {"<PERSON_1>": "Ann", "<EMAIL_1>": "a@b.example"}


async def test_where_finds_overlap_the_sharper_type_names_both() -> None:
    searched = await redacted(ask("write to ann@b.example now"), Words(**{"to ann": "person"}))
    assert text_of(searched) == "write <EMAIL_1> now"


async def test_every_detector_is_asked_once_and_its_searches_are_counted() -> None:
    words = Words(Ann="person")
    searched = await redacted(ask("Ann"), words, BOTH)
    assert searched.searches == {"words calls": 2}
    assert words.asked == ["Ann", "Ann"]


async def test_repeats_of_a_name_are_words() -> None:
    searched = await redacted(ask("Al asked. Also al, Alan and Al's."), Words(Al="person"))
    assert text_of(searched) == "<PERSON_1> asked. Also al, Alan and <PERSON_1>'s."


async def test_a_name_in_a_key_is_no_reason_to_refuse_a_record() -> None:
    schema = JsonSchema(name="a", schema={"type": "object", "properties": {"also": {"enum": ["Ann's"]}}})
    searched = await redacted(ask("Al asked", json_schema=schema), Words(Al="person", also="person"))
    assert text_of(searched) == "<PERSON_1> asked"


async def test_a_value_that_is_also_a_permitted_one_fails_the_record() -> None:
    schema = JsonSchema(name="a", schema={"type": "object", "properties": {"who": {"enum": ["Al", "Bo"]}}})
    with pytest.raises(RecordError, match="type person is part of a name"):
        await redacted(ask("Al asked", json_schema=schema), Words(Al="person"))


async def test_nothing_is_asked_where_nothing_is_redacted() -> None:
    words = Words(Ann="person")
    assert text_of(await redacted(ask("Ann"), words, RedactionPolicy(types=(), engines=("ner",)))) == "Ann"
    assert text_of(await redacted(ask(""), words)) == ""
    assert words.asked == []


async def test_own_patterns_count_beside_a_model_alone() -> None:
    policy = RedactionPolicy(types=KNOWN_TYPES, engines=("ner",), patterns=(OwnPattern("ticket", r"T-\d"),))
    assert text_of(await redacted(ask("Ann has T-1, a@b.example"), Words(Ann="person"), policy)) == (
        "<PERSON_1> has <TICKET_1>, a@b.example"
    )


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("my secret"),
        RouteClosedError("AccessDeniedException", "my secret"),
        RecordRefusedError("no", "my secret"),
    ],
)
async def test_a_detector_that_fails_fails_the_record_and_quotes_nothing(failure: Exception) -> None:
    with pytest.raises(RecordError) as raised:
        await redacted(ask("my secret"), Words(failure))
    assert raised.value.code == "redaction_failed"
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


async def test_a_detector_may_refuse_the_record_itself() -> None:
    with pytest.raises(RecordError) as raised:
        await redacted(ask("x"), Words(RecordError("blocked", code="redaction_refused")))
    assert raised.value.code == "redaction_refused"


@pytest.mark.parametrize("detectors", [None, Words()])
async def test_a_detector_that_is_missing_fails_the_record(detectors: Words | None) -> None:
    policy = RedactionPolicy(types=KNOWN_TYPES, engines=("structured", "guardrail"))
    with pytest.raises(RecordError, match="the detector guardrail is not deployed here") as raised:
        await redacted(ask("x"), detectors, policy)
    assert raised.value.code == "redaction_failed"


async def test_a_failure_that_may_pass_is_tried_again() -> None:
    words = Words(OVERLOADED, OVERLOADED, Ann="person")
    assert text_of(await redacted(ask("Ann"), words)) == "<PERSON_1>"
    assert len(words.asked) == 3


async def test_but_not_for_ever() -> None:
    words = Words(*[OVERLOADED] * 100)
    with pytest.raises(RecordError, match="InternalServerException") as raised:
        await redacted(ask("Ann"), words)
    assert (len(words.asked), raised.value.code) == (TRIES, "redaction_failed")


async def test_a_service_that_throttles_is_waited_for() -> None:
    words = Words(*[THROTTLED] * 100, Ann="person")
    assert text_of(await redacted(ask("Ann"), words)) == "<PERSON_1>"


async def test_until_nothing_is_sent_any_more() -> None:
    with pytest.raises(SendingEndedError):
        await redacted(ask("Ann"), Words(*[THROTTLED] * 10_000), ends_at=600)


async def test_a_search_is_cancelled_when_nothing_is_sent_any_more() -> None:
    cancelled = asyncio.Event()

    class Endless(Words):
        async def find(self, text: str, policy: RedactionPolicy) -> Findings:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return await super().find(text, policy)

    with pytest.raises(SendingEndedError):
        await redacted(ask("Ann"), Endless(), ends_at=600)
    assert cancelled.is_set()


@pytest.mark.parametrize("make", [lambda: Span(0, 9, "person", 1.0), lambda: Span(2, 2, "person", 1.0)])
async def test_a_span_outside_of_the_text_fails_the_record(make: Callable[[], Span]) -> None:
    class Wrong(Words):
        async def find(self, text: str, policy: RedactionPolicy) -> Findings:
            await super().find(text, policy)
            return Findings((make(),))

    with pytest.raises(RecordError) as raised:
        await redacted(ask("Ann"), Wrong())
    assert raised.value.code == "redaction_failed"


def test_what_is_raised_is_ours() -> None:
    assert issubclass(DetectorMissingError, PromptmillError)
