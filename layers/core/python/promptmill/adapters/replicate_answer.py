"""A prediction of Replicate's. It gives no reason for its end."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.adapters.http_calls import HttpAnswer
from promptmill.adapters.json_answers import estimated_usage, malformed, reported_usage
from promptmill.adapters.provider_errors import TOO_LONG, Verdicts
from promptmill.adapters.replicate_input import PROTOCOL
from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError

_UNDERWAY = frozenset({"starting", "processing"})
_NEVER_RAN = "aborted"
_US = 1_000_000
_FLAGGED = re.compile(r"flagged as sensitive|NSFW|content policy|\(E005\)", re.IGNORECASE)
_MAX_DETAIL = 500
_STATUS = 200


class _Metrics(Struct):
    predict_time: float | None = None
    input_token_count: int | None = None
    output_token_count: int | None = None


class Prediction(Struct):
    """``status``: an unknown one is taken for a failure."""

    id: str
    status: str
    model: str | None = None
    output: Any = None
    error: Any = None
    metrics: _Metrics | None = None
    data_removed: bool | None = None

    @property
    def is_over(self) -> bool:
        return self.status not in _UNDERWAY


def completion_of(
    answer: HttpAnswer, prediction: Prediction, raw: dict[str, Any], request: CompletionRequest
) -> Completion:
    """Of one that succeeded.

    Raises:
        RetryLaterError: it holds no output.
        RouteClosedError: the model makes something else than texts.
    """
    text = _text(answer, prediction)
    return Completion(
        text=text,
        finish_reason="unknown",
        usage=_usage(prediction.metrics or _Metrics()) or _timed_estimate(prediction, request, text),
        raw_finish=prediction.status,
        model=prediction.model or "",
        request_id=prediction.id,
        protocol=PROTOCOL,
        raw=raw,
    )


def failure_of(prediction: Prediction, verdicts: Verdicts) -> ProviderError:
    """The error for one that did not succeed. Its time may have been charged, unless it never ran: ``aborted``."""
    message = prediction.error if isinstance(prediction.error, str) else ""
    detail = message[:_MAX_DETAIL]
    ran = prediction.status != _NEVER_RAN
    told: dict[str, Any] = {"status": _STATUS, "request_id": prediction.id, "usage_unknown": ran}
    if verdicts.too_long and verdicts.too_long.search(message):
        return RecordRefusedError(TOO_LONG, detail, **told)
    if _FLAGGED.search(message):
        return RecordRefusedError("content_filter", detail, **told)
    known = prediction.status if prediction.status in {"failed", "canceled", _NEVER_RAN} else "failed"
    return RetryLaterError(known, detail, **told)


def _text(answer: HttpAnswer, prediction: Prediction) -> str:
    match prediction.output:
        case str() as text:
            return text
        case list() as pieces if all(isinstance(piece, str) for piece in pieces):
            return "".join(pieces)
        case None:
            raise malformed(answer, "the prediction has no output", request_id=prediction.id)
    detail = "the model's output is no text"
    raise RouteClosedError("output_not_text", detail, request_id=prediction.id, usage_unknown=True)


def _usage(metrics: _Metrics) -> Usage | None:
    """Official language models count tokens, the others time only."""
    asked, answered = metrics.input_token_count, metrics.output_token_count
    if asked is None or answered is None or min(asked, answered) < 0:
        return None
    counted = reported_usage(input_total=asked, cache_read=0, cache_write=0, output_total=answered, reasoning=0)
    return msgspec.structs.replace(counted, compute_us=_compute_us(metrics))


def _timed_estimate(prediction: Prediction, request: CompletionRequest, text: str) -> Usage:
    estimated = estimated_usage(request, text, ())
    return msgspec.structs.replace(estimated, compute_us=_compute_us(prediction.metrics or _Metrics()))


def _compute_us(metrics: _Metrics) -> int:
    return round(max(0.0, metrics.predict_time or 0.0) * _US)
