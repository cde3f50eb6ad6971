"""A request as the input of a model at Replicate, each of which has fields of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.wire.error_replies import TOO_LONG, Verdicts
from promptmill.wire.flat_prompts import flat_prompt
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import count_plain_usage, estimate_usage, malformed_answer, note_usage
from promptmill.wire.loose_json import as_object, as_text, is_textual
from promptmill.wire.request_bodies import add_native, unsupported
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "replicate"
LABEL = "Replicate"
NAMES: Mapping[str, str] = {
    "prompt": "prompt",
    "system": "system_prompt",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop_sequences",
}
"""The names that most language models use. A route's ``wire: {names: …}`` gives those of its model."""
_STOP_SEPARATOR = ","


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, "replicate", model=route.model)
    names = {**NAMES, **_name_fields(route)}
    flat = flat_prompt(msgspec.structs.replace(request, system=""), route.wire, by=LABEL)
    fields = {
        "prompt": flat.text,
        "system": request.system or None,
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": _stop(flat.stop),
    }
    given = {names[ours]: value for ours, value in fields.items() if value is not None}
    return add_native({"input": given}, request, wire_format=WIRE_FORMAT)


def _name_fields(route: Route) -> Mapping[str, str]:
    if unknown := route.wire.names.keys() - NAMES.keys():
        raise RouteClosedError("wire_names", f"{route.id}: there is no {min(unknown)}; known: {', '.join(NAMES)}")
    return route.wire.names


def _stop(sequences: tuple[str, ...]) -> str | None:
    """Return the sequences as one text, joined by commas, so that no sequence may hold one."""
    if any(_STOP_SEPARATOR in sequence for sequence in sequences):
        raise unsupported("stop", f"a sequence with a comma cannot be sent to {LABEL}")
    return _STOP_SEPARATOR.join(sequences) or None


_UNDERWAY = frozenset({"starting", "processing"})
_NEVER_RAN = "aborted"
_US = 1_000_000
_FLAGGED = re.compile(r"flagged as sensitive|NSFW|content policy|\(E005\)", re.IGNORECASE)
_MAX_DETAIL = 500
_STATUS = 200


class Prediction(Struct):
    """A prediction. An unknown ``status`` counts as a failure."""

    id: str
    status: str
    model: str = ""
    output: Any = None
    error: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return self.status not in _UNDERWAY


def find_prediction(raw: Any) -> Prediction | None:
    """Return the prediction of a reply, read field by field, or None if it is none."""
    told = as_object(raw)
    if not (status := as_text(told.get("status"))):
        return None
    return Prediction(
        as_text(told.get("id")),
        status,
        as_text(told.get("model")),
        told.get("output"),
        _error_text(told.get("error")),
        as_object(told.get("metrics")),
    )


def read_prediction(answer: HttpAnswer, raw: Any) -> Prediction:
    """Return the prediction of a reply. Raise RetryLaterError, with the usage that it tells, if it is none."""
    prediction = find_prediction(raw)
    if prediction is not None and (prediction.id or prediction.is_over):  # without an id it cannot be asked for
        return prediction
    usage = _read_usage(as_object(as_object(raw).get("metrics")))
    raise malformed_answer(answer, "the answer is no prediction", request_id="", usage=usage)


def _error_text(told: Any) -> str:
    return msgspec.json.encode(told).decode() if isinstance(told, dict | list) and told else as_text(told)


def read_answer(
    answer: HttpAnswer, prediction: Prediction, raw: dict[str, Any], request: CompletionRequest
) -> Completion:
    """Return the completion of a prediction that succeeded.

    Raises:
        RetryLaterError: it holds no output.
        RouteClosedError: the model makes something else than texts.
    """
    text = _text(answer, prediction)
    return Completion(
        text=text,
        finish_reason="unknown",
        usage=_read_usage(prediction.metrics) or _estimate_with_time(prediction, request, text),
        raw_finish=prediction.status,
        model=prediction.model,
        request_id=prediction.id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def failure_of(prediction: Prediction, verdicts: Verdicts) -> ProviderError:
    """Return the error for a prediction that failed. It may have been charged, unless it never ran (``aborted``)."""
    message = prediction.error
    detail = message[:_MAX_DETAIL]
    ran = prediction.status != _NEVER_RAN
    told: dict[str, Any] = {"status": _STATUS, "request_id": prediction.id, "usage_unknown": ran}
    usage = _read_usage(prediction.metrics)
    if verdicts.too_long and verdicts.too_long.search(message):
        return note_usage(RecordRefusedError(TOO_LONG, detail, **told), usage, prediction.model)
    if _FLAGGED.search(message):
        return note_usage(RecordRefusedError("content_filter", detail, **told), usage, prediction.model)
    known = prediction.status if prediction.status in {"failed", "canceled", _NEVER_RAN} else "failed"
    return note_usage(RetryLaterError(known, detail, **told), usage, prediction.model)


def _text(answer: HttpAnswer, prediction: Prediction) -> str:
    output, request_id = prediction.output, prediction.id
    usage = _read_usage(prediction.metrics)
    if output is None:
        reason = "the prediction has no output"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=prediction.model)
    pieces = output if isinstance(output, list) else [output]
    if all(is_textual(piece) for piece in pieces):
        return "".join(map(as_text, pieces))
    detail = "the model's output is no text"
    error = RouteClosedError("output_not_text", detail, request_id=request_id, usage_unknown=True)
    raise note_usage(error, usage, prediction.model)


def _read_usage(metrics: dict[str, Any]) -> Usage | None:
    """Return the usage that official language models report. Others report only their time."""
    counted = count_plain_usage(metrics.get("input_token_count"), metrics.get("output_token_count"))
    return None if counted is None else msgspec.structs.replace(counted, compute_us=_compute_us(metrics))


def _estimate_with_time(prediction: Prediction, request: CompletionRequest, text: str) -> Usage:
    estimated = estimate_usage(request, text, ())
    return msgspec.structs.replace(estimated, compute_us=_compute_us(prediction.metrics))


def _compute_us(metrics: dict[str, Any]) -> int:
    seconds = metrics.get("predict_time")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return 0
    return round(max(0.0, seconds) * _US)


_DOMAIN = "replicate.com"
_MAX_DETAIL = 500


def stream_url_of(raw: dict[str, Any], *, base_url: str) -> str | None:
    """Return the address of the output, or None for models that do not stream.

    The key is sent there too, so that it must be Replicate's, or that of the route's own address.
    """
    urls = raw.get("urls")
    url = urls.get("stream") if isinstance(urls, dict) else None
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    is_replicates = parts.scheme == "https" and (parts.hostname or "").endswith(f".{_DOMAIN}")
    own = urlsplit(base_url)
    return url if is_replicates or (parts.scheme, parts.netloc) == (own.scheme, own.netloc) else None


class OutputWatch:
    """See Assembler. Watches events called ``output``, ``logs``, ``error`` and ``done``, and keeps nothing."""

    def __init__(self) -> None:
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        self.is_complete = self.is_complete or event.name == "done"
        return event.name == "output" and bool(event.data)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return {}


def stream_error(event: StreamEvent, *, request_id: str) -> ProviderError | None:
    """Return the error that an event in the middle of a stream reports, or None."""
    if event.name != "error":
        return None
    detail = event.data[:_MAX_DETAIL].decode(errors="replace")
    return RetryLaterError("failed", detail, status=200, request_id=request_id, usage_unknown=True)
