"""Gemini's generateContent protocol on Vertex AI: a request is written, an answer is read, whole or as a stream.

Names are those of Vertex AI's v1. The model is in the URL.
"""

from __future__ import annotations

import mimetypes
from typing import Any, Final

import msgspec

from promptmill.domain.completion import (
    Attachment,
    Completion,
    CompletionRequest,
    FinishReason,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from promptmill.wire.attachments import PDF, inline_image, linked_image, native_block
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import AnswerSource, Said, make_completion, make_usage, malformed_answer, note_choices
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_text, count_in, join_parts, parse_piece
from promptmill.wire.request_bodies import add_native, unsupported, unsupported_attachment
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "vertex-generate"
LABEL = "Vertex AI"
_JSON = "application/json"


def write_request(request: CompletionRequest) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT)
    names = _tool_names(request)
    optional = {
        "systemInstruction": {"parts": [{"text": request.system}]} if request.system else None,
        "generationConfig": _write_generation_config(request),
        "tools": [{"functionDeclarations": [_write_tool(tool) for tool in request.tools]}] if request.tools else None,
        "toolConfig": _write_tool_config(request.tool_choice),
    }
    body: dict[str, Any] = {"contents": [_write_content(message, names) for message in request.messages]}
    body.update((name, value) for name, value in optional.items() if value)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _tool_names(request: CompletionRequest) -> dict[str, str]:
    """Return the names of tools by the ids of their calls, because this API answers a tool by its name."""
    parts = (part for message in request.messages for part in message.parts)
    return {part.id: part.name for part in parts if isinstance(part, ToolCall)}


def _write_content(message: Message, names: dict[str, str]) -> dict[str, Any]:
    role = "model" if message.role == "assistant" else "user"
    return {"role": role, "parts": [_write_part(part, names) for part in message.parts]}


def _write_part(part: Part, names: dict[str, str]) -> dict[str, Any]:
    match part:
        case Text():
            return {"text": part.text, **part.extra}
        case ToolCall():
            return {"functionCall": {"id": part.id, "name": part.name, "args": part.arguments}, **part.extra}
        case ToolResult():
            return _write_function_response(part, names)
        case Attachment():
            return _write_attachment(part)


def _write_function_response(result: ToolResult, names: dict[str, str]) -> dict[str, Any]:
    if result.call_id not in names:
        raise unsupported("messages", f"a tool's answer without the call that it answers cannot be sent to {LABEL}")
    response = result.extra.get("response") or {"error" if result.is_error else "output": result.text}
    return {"functionResponse": {"id": result.call_id, "name": names[result.call_id], "response": response}}


def _write_attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if image := inline_image(attachment):
        media_type, data = image
        return {"inlineData": {"mimeType": media_type, "data": data}}
    if (url := linked_image(attachment)) and (media_type := _guess_media_type(attachment, url)):
        return {"fileData": {"mimeType": media_type, "fileUri": url}}
    if attachment.data and (attachment.media_type == PDF or attachment.kind == "audio"):
        return {"inlineData": {"mimeType": attachment.media_type, "data": attachment.data}}
    raise unsupported_attachment(attachment, by=LABEL)


def _guess_media_type(attachment: Attachment, url: str) -> str:
    """Return the media type, which the API demands, or "" if it cannot be guessed."""
    return attachment.media_type or mimetypes.guess_type(url.partition("?")[0])[0] or ""


def _write_generation_config(request: CompletionRequest) -> dict[str, Any]:
    schema = request.json_schema
    fields = {
        "maxOutputTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "seed": request.seed,
        "stopSequences": list(request.stop) or None,
        "responseMimeType": _JSON if schema or request.json_object else None,
        "responseJsonSchema": schema.schema if schema else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _write_tool(tool: Tool) -> dict[str, Any]:
    if tool.strict:
        raise unsupported("tools", f"strict cannot be sent to {LABEL}")
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parametersJsonSchema": tool.parameters}


def _write_tool_config(choice: ToolChoice | None) -> dict[str, Any] | None:
    match choice and choice.mode:
        case None:
            return None
        case "named" if choice:
            config: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        case "required":
            config = {"mode": "ANY"}
        case mode:
            config = {"mode": str(mode).upper()}
    return {"functionCallingConfig": config}


_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "MODEL_ARMOR": "filter",
    "IMAGE_SAFETY": "filter",
    "IMAGE_PROHIBITED_CONTENT": "filter",
    "LANGUAGE": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "OTHER": "error",
}
_ON_DEMAND = "ON_DEMAND"


_HOSTED_PARTS = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    """Return the completion. A prompt that was filtered is an answer without text.

    Raises:
        RetryLaterError: the body is no answer.
    """
    reply = as_object(raw)
    request_id, model = as_text(reply.get("responseId")), as_text(reply.get("modelVersion"))
    usage, candidates = _read_usage(reply.get("usageMetadata")), as_objects(reply.get("candidates"))
    blocked = as_text(as_object(reply.get("promptFeedback")).get("blockReason"))
    if not (candidates or blocked):
        reason = "the answer has no candidates"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    candidate = candidates[0] if candidates else {"finishReason": blocked}
    parts, unknown = as_objects(as_object(candidate.get("content")).get("parts")), list[str]()
    text = "".join(join_parts(parts, _read_text, unknown.append))
    calls = tuple(_read_tool_call(part["functionCall"], n) for n, part in enumerate(parts) if part.get("functionCall"))
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    finish_reason = _read_finish_reason(candidate, calls, is_blocked=not candidates)
    finish = (finish_reason, as_text(candidate.get("finishReason")))
    notes = note_choices(len(candidates))
    return make_completion(Said(text, calls, unknown), source, request, finish, usage, notes=notes)


def _read_text(part: dict[str, Any]) -> str | None:
    """Return the text of a part, "" for thoughts and calls, None for anything that is neither."""
    if part.get("thought") is True or part.get("functionCall"):
        return ""
    if "text" in part or part.keys() <= {"thoughtSignature"}:
        return as_text(part.get("text"))
    return "" if any(name in part for name in _HOSTED_PARTS) else None


def _read_finish_reason(candidate: dict[str, Any], calls: tuple[ToolCall, ...], *, is_blocked: bool) -> FinishReason:
    if is_blocked:
        return "filter"
    finish = _FINISH.get(as_text(candidate.get("finishReason")), "unknown")
    return "tool" if calls and finish == "stop" else finish


def _read_tool_call(called: Any, place: int) -> ToolCall:
    """Return the call. Older models give it no id."""
    call = as_object(called)
    return ToolCall(as_text(call.get("id")) or f"call_{place}", as_text(call.get("name")), as_object(call.get("args")))


def _read_usage(reported: Any) -> Usage | None:
    """Return the usage. Thoughts come on top of the candidates; the prompt includes what was read from the cache.

    Counts of 0 are left out. ``totalTokenCount`` decides where the parts leave something out.
    """
    usage = as_object(reported)
    asked = as_count(usage.get("promptTokenCount"))
    answered = as_count(usage.get("candidatesTokenCount", 0))
    if asked is None or answered is None or min(asked, answered) < 0:
        return None
    asked += count_in(usage, "toolUsePromptTokenCount")
    thought = count_in(usage, "thoughtsTokenCount")
    beside = max(0, count_in(usage, "totalTokenCount") - asked - answered - thought)
    whole = make_usage(
        input_total=asked,
        cache_read=count_in(usage, "cachedContentTokenCount"),
        cache_write=0,
        output_total=answered + thought + beside,
        reasoning=thought,
    )
    traffic = as_text(usage.get("trafficType")) or _ON_DEMAND
    return msgspec.structs.replace(
        whole,
        service_tier="" if traffic == _ON_DEMAND else traffic.lower(),
        input_audio=_count_modality(usage, "AUDIO", "promptTokensDetails", "toolUsePromptTokensDetails"),
        output_audio=_count_modality(usage, "AUDIO", "candidatesTokensDetails"),
        output_image=_count_modality(usage, "IMAGE", "candidatesTokensDetails"),
    )


def _count_modality(usage: dict[str, Any], modality: str, *fields: str) -> int:
    details = (detail for name in fields for detail in as_objects(usage.get(name)))
    return sum(count_in(detail, "tokenCount") for detail in details if detail.get("modality") == modality)


class GeminiAssembler:
    """See Assembler. Each event is an answer that holds the next piece. The counts of the last one hold."""

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        raw = parse_piece(event.data)
        if not isinstance(raw, dict):
            return False
        candidates = raw.get("candidates")
        self._whole |= {name: value for name, value in raw.items() if name != "candidates" and value is not None}
        feedback = raw.get("promptFeedback")
        self.is_complete = self.is_complete or (isinstance(feedback, dict) and bool(feedback.get("blockReason")))
        first = candidates[0] if isinstance(candidates, list) and candidates else None
        return self._take(first) if isinstance(first, dict) else False

    def _take(self, candidate: dict[str, Any]) -> bool:
        self._candidate |= {name: value for name, value in candidate.items() if name != "content"}
        self.is_complete = self.is_complete or bool(candidate.get("finishReason"))
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        new = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        self._parts += new
        return bool(new)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        if not self._candidate and not self._parts:
            return self._whole
        candidate = {"content": {"role": "model", "parts": _join_texts(self._parts)}, **self._candidate}
        return {"candidates": [candidate], **self._whole}


def _join_texts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbouring texts, but keep thoughts apart from the answer."""
    runs: list[tuple[dict[str, Any], list[str]]] = []
    for part in parts:
        text = part.get("text")
        if runs and isinstance(text, str) and runs[-1][1] and _is_thought(runs[-1][0]) == _is_thought(part):
            runs[-1][0].update(part)
            runs[-1][1].append(text)
        else:
            runs.append((dict(part), [text] if isinstance(text, str) else []))
    return [{**part, "text": "".join(texts)} if texts else part for part, texts in runs]


def _is_thought(part: dict[str, Any]) -> bool:
    return part.get("thought") is True
