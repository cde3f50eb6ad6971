"""A dropped file under a recipe with detectors beside the patterns, from the drop to the summary."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import structs

from promptmill.aws.s3.recipe_source import S3RecipeSource
from promptmill.detectors.deployed import DeployedDetectors
from promptmill.domain.completion import Completion, CompletionRequest, Text, Usage
from promptmill.domain.errors import RecipeError
from promptmill.domain.job import JobState
from promptmill.domain.recipe import RedactionPolicy, Route
from promptmill.ports.detectors import ExternalDetector, ExternalDetectors
from promptmill.redaction import KNOWN_TYPES
from tests.contract.detectors.conftest import detector_for
from tests.fakes.clock import FakeClock
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.providers.behaviours import Refuse
from tests.fakes.providers.entity_services import Comprehend
from tests.fakes.providers.server import FakeProvider
from tests.fakes.recipes import recipe
from tests.unit.detectors.test_redact_record import Words

KEY = "inbox/r/prompts.jsonl"
PROMPTS = [
    {"id": "a", "prompt": "My name is Maria Keller, my mail is m@x.example. Greet me."},
    {"id": "b", "prompt": "José says my name is Peter Novak. Greet me."},
    {"id": "c", "prompt": "Greet nobody."},
]


class Parrot(FakeModels):
    """Says what it was asked, after a greeting."""

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        answer = await super().complete(route, request, call_id=call_id)
        return structs.replace(answer, text=f"Hello! {asked(request)}", usage=Usage(input_total=2, output_total=2))


def asked(request: CompletionRequest) -> str:
    return "".join(part.text for message in request.messages for part in message.parts if isinstance(part, Text))


def mill_with(*engines: str, detectors: ExternalDetectors | None) -> tuple[Mill, Parrot]:
    models = Parrot()
    policy = RedactionPolicy(types=KNOWN_TYPES, engines=("structured", *engines))
    mill = Mill(recipe(redact=policy), models=models)
    mill.detectors = detectors
    return mill, models


@pytest.fixture
async def ner() -> AsyncIterator[DeployedDetectors]:
    detectors = DeployedDetectors(["ner"], clock=FakeClock())
    await detectors.detector("ner").find(
        "loaded", RedactionPolicy(types=KNOWN_TYPES)
    )  # virtual time does not wait for it
    yield detectors
    await detectors.close()


async def test_names_stay_here_and_come_back_in_the_answers(ner: DeployedDetectors) -> None:
    mill, models = mill_with("ner", detectors=ner)
    job = await mill.mill(KEY, jsonl(PROMPTS))
    assert job.state is JobState.DONE
    assert sorted(map(asked, models.requests)) == [
        "<PERSON_1> says my name is <PERSON_2>. Greet me.",
        "Greet nobody.",
        "My name is <PERSON_1>, my mail is <EMAIL_1>. Greet me.",
    ]
    answers = [line["answer"] for line in mill.lines(job, "results")]
    assert answers == [f"Hello! {prompt['prompt']}" for prompt in PROMPTS]
    summary = msgspec.json.decode(mill.file(job, "summary"))
    assert summary["redaction"]["engines"]["ner"].startswith("rampart-")
    assert summary["redaction"]["redacted"]["person"] == 3
    assert "searches" not in summary["redaction"]


async def test_what_a_service_was_asked_is_told_in_the_summary() -> None:
    async with FakeProvider(Comprehend()) as fake, detector_for("comprehend", fake) as detector:
        mill, models = mill_with("comprehend", detectors=Always(detector))
        fake.script.append(Refuse("throttled"))
        job = await mill.mill(KEY, jsonl(PROMPTS))
        assert job.counts.answered == 3
        assert "My name is <PERSON_1>, my mail is <EMAIL_1>. Greet me." in map(asked, models.requests)
        summary = msgspec.json.decode(mill.file(job, "summary"))
        assert summary["redaction"]["searches"] == {"comprehend calls": 3, "comprehend units": 9}
        assert len(fake.sent) == 4


async def test_a_detector_that_fails_sends_nothing_and_costs_its_record_only() -> None:
    mill, models = mill_with("ner", detectors=Words(ValueError("Maria"), Peter="person"))
    job = await mill.mill(KEY, jsonl(PROMPTS))
    codes = [line.get("error", {}).get("code", "") for line in mill.lines(job, "results")]
    assert sorted(codes) == ["", "", "redaction_failed"]
    assert len(models.requests) == 2
    assert b"ValueError" in mill.file(job, "results")


async def test_a_stack_without_the_detector_sends_nothing() -> None:
    mill, models = mill_with("ner", detectors=None)
    job = await mill.mill(KEY, jsonl(PROMPTS))
    assert job.counts.failed == 3
    assert models.requests == []
    assert b"the detector ner is not deployed here" in mill.file(job, "results")


class Always:
    def __init__(self, detector: ExternalDetector) -> None:
        self._detector = detector

    def detector(self, runtime: str) -> ExternalDetector:
        del runtime
        return self._detector


RECIPE = """
routes: [bedrock/eu.amazon.nova-lite-v1:0]
redact: {engines: [structured, ner]}
"""


async def test_a_recipe_for_a_detector_that_is_not_deployed_is_refused() -> None:
    objects, clock = FakeObjectStore(FakeClock()), FakeClock()
    objects.put("recipes/r.yaml", RECIPE.encode())
    with pytest.raises(RecipeError) as raised:
        await S3RecipeSource(objects, clock, stage="dev").load("r")
    assert (raised.value.code, raised.value.where) == ("engine_missing", "recipes/r.yaml: redact.engines")
    assert 'make deploy CONTEXT="ner=true"' in raised.value.remedy
    found = await S3RecipeSource(objects, clock, stage="dev", engines=("ner",)).load("r")
    assert found.redact.engines == ("structured", "ner")
