"""Comprehend and guardrails: what is sent, what is counted, and what becomes of every kind of failure."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.model import StringShape

from promptmill.detectors.comprehend import TYPES as COMPREHEND_TYPES
from promptmill.detectors.deployed import DeployedDetectors
from promptmill.detectors.guardrail import TYPES as GUARDRAIL_TYPES
from promptmill.domain.errors import ProviderError, RecordError, RetryLaterError
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.ports.detectors import ExternalDetector
from promptmill.redaction import KNOWN_TYPES
from promptmill.redaction.policy import DetectorMissingError
from tests.contract.detectors.conftest import POLICY, SERVICES, detector_for
from tests.fakes.clock import FakeClock
from tests.fakes.providers.behaviours import CutOff, Refuse, Reply, Trouble
from tests.fakes.providers.entity_services import BLOCKED, Comprehend, GuardrailService
from tests.fakes.providers.server import FakeProvider

Service = tuple[FakeProvider, ExternalDetector]
TEXT = "I am Maria Keller, my car is B-MK 1234, Monday suits me."
USAGE = {"sensitiveInformationPolicyUnits": 1, "sensitiveInformationPolicyFreeUnits": 0}


async def test_finds_have_our_types(service: Service) -> None:
    fake, detector = service
    finds = await detector.find(TEXT, POLICY)
    found = {(TEXT[span.start : span.end], span.type) for span in finds.spans}
    assert found == {("Maria Keller", "person"), ("B-MK 1234", "other")}
    assert fake.refused == []


@pytest.mark.parametrize("letter", ["a", "ж", "你", "\U0001d400"])
async def test_a_long_text_is_asked_about_in_pieces_that_overlap(letter: str, service: Service) -> None:
    """The fakes refuse more than 100 KB, and more than 25 units."""
    fake, detector = service
    words = (letter * 7 + " ") * 20_000
    cuts = [words[:at] + "Maria Keller " + words[at:] for at in range(29_900, 30_100, 8)]
    for text in cuts[:: len(cuts) // 4]:
        (span,) = {(s.start, s.end) for s in (await detector.find(text, POLICY)).spans}
        assert text[slice(*span)] == "Maria Keller"
    assert fake.refused == []
    assert len(fake.sent) > 4


async def test_calls_and_units_are_counted() -> None:
    expected = {
        "comprehend": {"comprehend calls": 2, "comprehend units": 300 + 6},
        "guardrail": {"guardrail calls": 2, "guardrail units": 2 * (20 + 11)},
    }
    lengths = {"comprehend": 30_000 + 100, "guardrail": 20_000 + 10_000}
    for name, speaks in SERVICES.items():
        async with FakeProvider(speaks()) as fake, detector_for(name, fake) as detector:
            finds = await detector.find("a" * lengths[name], POLICY)
            assert finds.searches == expected[name]


async def test_nothing_is_asked_about_blank_texts(service: Service) -> None:
    fake, detector = service
    assert (await detector.find("\n \x00 \t", POLICY)).searches == {}
    assert fake.sent == []


@pytest.mark.parametrize(
    ("trouble", "status", "retried"), [("throttled", 429, True), ("overloaded", 500, True), ("bad_field", 400, False)]
)
async def test_errors_are_classified(trouble: Trouble, status: int, *, retried: bool, service: Service) -> None:
    fake, detector = service
    fake.script.append(Refuse(trouble))
    with pytest.raises(ProviderError) as raised:
        await detector.find(TEXT, POLICY)
    assert (raised.value.status, isinstance(raised.value, RetryLaterError)) == (status, retried)


async def test_a_lost_connection_may_be_tried_again(service: Service) -> None:
    fake, detector = service
    fake.script.append(CutOff(in_body=True))
    with pytest.raises(RetryLaterError):
        await detector.find(TEXT, POLICY)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"[]",
        b"{}",
        b'{"Entities": [{"BeginOffset": 5, "EndOffset": 99999, "Score": 1, "Type": "NAME"}]}',
        b'{"Entities": [{"BeginOffset": 5, "EndOffset": 5, "Score": 1, "Type": "NAME"}]}',
        b'{"Entities": [{"Score": 1, "Type": "NAME"}]}',
        json.dumps({"usage": USAGE, "action": "NONE"}).encode(),
    ],
)
async def test_a_reply_that_is_none_is_an_error(reply: bytes, service: Service) -> None:
    fake, detector = service
    fake.script.append(Reply(200, reply))
    with pytest.raises((ValueError, KeyError, TypeError, RecordError)):
        await detector.find(TEXT, POLICY)


async def test_comprehend_is_told_the_language() -> None:
    async with FakeProvider(Comprehend()) as fake, detector_for("comprehend", fake) as detector:
        await detector.find(TEXT, RedactionPolicy(types=KNOWN_TYPES, language="es"))
        assert fake.sent[0].body["LanguageCode"] == "es"


def policy_reply(found: dict[str, Any], action: str = "GUARDRAIL_INTERVENED") -> Reply:
    body = {"usage": USAGE, "action": action, "outputs": [], "assessments": [found]}
    return Reply(200, json.dumps(body).encode())


def entities(*matches: str, action: str = "ANONYMIZED") -> dict[str, Any]:
    found = [{"match": match, "type": "NAME", "action": action} for match in matches]
    return {"sensitiveInformationPolicy": {"piiEntities": found, "regexes": []}}


class TestGuardrail:
    async def test_every_occurrence_of_a_match_is_found_and_no_part_of_a_word(self) -> None:
        text = "Al asked. Also Al's sister asked Al"
        assert await self._found(text, policy_reply(entities("Al"))) == [(0, 2), (15, 17), (33, 35)]

    async def test_a_match_that_is_nowhere_a_word_is_found_wherever_it_is(self) -> None:
        assert await self._found("xAly and zAl", policy_reply(entities("Al"))) == [(1, 3), (10, 12)]

    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            (policy_reply(entities("nobody")), "redaction_failed"),
            (policy_reply(entities("")), "redaction_failed"),
            (policy_reply(entities("Al", action="BLOCKED")), "redaction_refused"),
            (policy_reply({}), "redaction_refused"),
            (
                policy_reply({"wordPolicy": {"customWords": [{"match": "Al", "action": "BLOCKED"}]}}),
                "redaction_refused",
            ),
            (
                policy_reply({"contentPolicy": {"filters": [{"type": "HATE", "action": "BLOCKED"}]}}),
                "redaction_refused",
            ),
        ],
    )
    async def test_what_cannot_be_hidden_fails_the_record(self, reply: Reply, code: str) -> None:
        with pytest.raises(RecordError) as raised:
            await self._found("Al asked", reply)
        assert raised.value.code == code

    async def test_what_is_only_detected_stays(self) -> None:
        assert await self._found("Al asked", policy_reply(entities("Al", action="NONE"), action="NONE")) == []

    async def test_a_topic_that_is_blocked_is_refused(self) -> None:
        with pytest.raises(RecordError) as raised:
            await self._found(f"the {BLOCKED} are 0000")
        assert raised.value.code == "redaction_refused"

    @pytest.mark.parametrize("service", [GuardrailService(filters=False), GuardrailService(covers=0.5)])
    async def test_a_guardrail_that_does_not_look_is_not_relied_on(self, service: GuardrailService) -> None:
        async with FakeProvider(service) as fake, detector_for("guardrail", fake) as detector:
            with pytest.raises(RecordError, match="can't be relied on"):
                await detector.find("Nothing in here.", POLICY)

    async def test_an_unknown_version_is_an_error(self) -> None:
        async with FakeProvider(GuardrailService()) as fake, detector_for("guardrail", fake) as detector:
            with pytest.raises(ProviderError) as raised:
                await detector.find("Al", RedactionPolicy(types=KNOWN_TYPES, guardrail=Guardrail("gr4a5b6c7d8e", "9")))
            assert raised.value.code == "ResourceNotFoundException"

    async def _found(self, text: str, reply: Reply | None = None) -> list[tuple[int, int]]:
        async with FakeProvider(GuardrailService()) as fake, detector_for("guardrail", fake) as detector:
            fake.script.extend([reply] if reply else [])
            return [(span.start, span.end) for span in (await detector.find(text, POLICY)).spans]


def test_types_are_those_of_the_services_and_ours() -> None:
    assert set(COMPREHEND_TYPES) <= _permitted("comprehend", "PiiEntityType")
    assert set(GUARDRAIL_TYPES) <= _permitted("bedrock-runtime", "GuardrailPiiEntityType")
    assert {*COMPREHEND_TYPES.values(), *GUARDRAIL_TYPES.values()} <= set(KNOWN_TYPES)


def _permitted(service: str, shape: str) -> set[str]:
    found = botocore.session.get_session().get_service_model(service).shape_for(shape)
    assert isinstance(found, StringShape)
    return set(found.enum)


@pytest.mark.parametrize("name", ["ner", "comprehend", "guardrail"])
async def test_a_detector_that_is_not_deployed_is_named(name: str) -> None:
    with pytest.raises(DetectorMissingError, match=f"the detector {name} is not deployed here"):
        DeployedDetectors([], clock=FakeClock()).detector(name)
