"""A deployment offers the detectors that its settings name, and no service on the local stage."""

from __future__ import annotations

import botocore.session
import msgspec
import pytest

from promptmill.redaction.policy import DetectorMissingError
from promptmill.settings import Settings, from_environment, to_environment
from promptmill.wiring import Services
from promptmill.wiring_offline import offline_detectors

ALL = "ner,comprehend,guardrail"


def services(stage: str, engines: str) -> Services:
    names = {f.name: f.name for f in msgspec.structs.fields(Settings) if f.required}
    settings = msgspec.convert({**names, "stage": stage, "region": "eu-west-1", "engines": engines}, Settings)
    assert from_environment(to_environment(settings) | {"AWS_REGION": "eu-west-1"}) == settings
    return Services(settings)


def offered(found: Services) -> list[str]:
    names = []
    for runtime in ALL.split(","):
        try:
            found.detectors.detector(runtime)
        except DetectorMissingError:
            continue
        names.append(runtime)
    found.close()
    return names


@pytest.mark.parametrize(
    ("stage", "engines", "expected"),
    [
        ("prod", "", []),
        ("prod", "ner", ["ner"]),
        ("prod", "comprehend", ["comprehend"]),
        ("prod", ALL, ["ner", "comprehend", "guardrail"]),
        ("local", ALL, ["ner"]),
    ],
)
def test_what_a_stage_offers(stage: str, engines: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Services, "_botocore_session", lambda _: botocore.session.Session())
    assert offered(services(stage, engines)) == expected


def test_workers_are_given_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    found = services("prod", ALL)
    assert found.runtime(owner="o", ends_at=0.0).detectors is found.detectors
    found.close()


def test_a_command_offers_what_stays_on_this_machine() -> None:
    detectors = offline_detectors()
    assert detectors.detector("ner") is detectors.detector("ner")
    with pytest.raises(DetectorMissingError):
        detectors.detector("comprehend")
