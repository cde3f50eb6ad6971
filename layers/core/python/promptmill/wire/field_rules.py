"""The rules for the fields of each API that stay native: what a line may set, and what a route has to allow.

They are judged by the types of the official SDKs and by botocore's service model:
tests/contract/providers/test_line_fields.py walks every field of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import WireFormat
from promptmill.wire.line_fields import ANY, LINK, PLAIN, OwnTools, Reach

_TIER = "changes the price of the call"
_SEARCH = "asks for a service of the provider that costs extra"
_OTHER_MEDIA = "asks for an answer in sound or images, which costs more"
_KEPT = "asks the provider to keep what is sent"
_STORED = "refers to something that is stored at the provider, which may be somebody else's"
_ACCOUNT = "chooses whose account or resources the call uses"
_BEYOND = "can be charged beyond the limit of the answer"
_CALLERS = "lets code that the provider runs call this tool"
_UNREDACTED = "carries an image, which is not redacted"

_FILE = Reach(_STORED, moves_price=False, name="files")
_BUCKET = Reach(
    "makes the provider read a bucket with the rights of this deployment", moves_price=False, name="storage"
)
_BETA = Reach(
    "switches on a beta feature",
    values=(
        *("prompt-caching-2024-07-31", "extended-cache-ttl-2025-04-11", "pdfs-2024-09-25", "output-128k-2025-02-19"),
        *("token-efficient-tools-2025-02-19", "fine-grained-tool-streaming-2025-05-14"),
        "max-tokens-3-5-sonnet-2024-07-15",
    ),
    name="anthropic_beta",
)
_CACHE = {"type": PLAIN, "ttl": PLAIN}
_THINKING = {"type": PLAIN, "budget_tokens": PLAIN, "display": PLAIN}


def _chat_tool_type(tool: Mapping[str, Any]) -> str:
    return str(tool.get("type") or "function")


def _messages_tool_type(tool: Mapping[str, Any]) -> str:
    return str(tool.get("type") or "custom")


def _gemini_tool_type(tool: Mapping[str, Any]) -> str:
    return next(iter(tool), "")


def _converse_tool_type(tool: Mapping[str, Any]) -> str:
    if "systemTool" not in tool:
        return next(iter(tool), "")
    system = tool["systemTool"]
    return str(system.get("name") or "systemTool") if isinstance(system, Mapping) else "systemTool"


_CHAT: Mapping[str, Any] = {
    "audio": Reach("asks for an answer in sound, which costs more"),
    "modalities": Reach("asks for an answer in sound, which costs more", values=(["text"],)),
    "frequency_penalty": PLAIN,
    "presence_penalty": PLAIN,
    "function_call": PLAIN,
    "functions": ANY,
    "logit_bias": PLAIN,
    "logprobs": PLAIN,
    "top_logprobs": PLAIN,
    "metadata": PLAIN,
    "moderation": Reach("names another model"),
    "n": Reach("asks for more than one answer", values=(1,)),
    "parallel_tool_calls": PLAIN,
    "prediction": Reach(_BEYOND),
    "prompt_cache_key": PLAIN,
    "prompt_cache_options": {"mode": PLAIN, "ttl": PLAIN},
    "prompt_cache_retention": Reach(_KEPT, values=("in_memory", "in-memory"), moves_price=False),
    "reasoning_effort": PLAIN,
    "response_format": {"type": PLAIN, "json_schema": ANY},
    "safety_identifier": PLAIN,
    "service_tier": Reach(_TIER, values=("auto", "default", "standard")),
    "store": Reach(_KEPT, values=(False,), moves_price=False),
    "tool_choice": ANY,
    "tools": OwnTools({"type": PLAIN, "function": ANY, "custom": ANY}, _chat_tool_type, ("function", "custom")),
    "user": PLAIN,
    "verbosity": PLAIN,
    "web_search_options": Reach(_SEARCH),
    # What servers that speak this API know besides: sampling, and how a template thinks.
    **dict.fromkeys(("min_p", "top_a", "typical_p", "repetition_penalty", "length_penalty", "min_tokens"), PLAIN),
    **dict.fromkeys(("stop_token_ids", "bad_words", "ignore_eos", "skip_special_tokens", "random_seed"), PLAIN),
    **dict.fromkeys(("safe_prompt", "enable_thinking", "include_reasoning", "chat_template_kwargs"), PLAIN),
    **dict.fromkeys(("guided_choice", "guided_regex", "guided_grammar"), PLAIN),
    "guided_json": ANY,
    "structured_outputs": ANY,
    "output_config": {"effort": PLAIN, "format": ANY},
    "thinking": _THINKING,
    "reasoning": {"effort": PLAIN, "exclude": PLAIN, "enabled": PLAIN, "max_tokens": PLAIN},
}

_MESSAGES: Mapping[str, Any] = {
    "anthropic_beta": [_BETA],
    "betas": [_BETA],
    "cache_control": _CACHE,
    "container": Reach(_SEARCH),
    "context_management": Reach(_BEYOND),
    "compaction": Reach(_BEYOND),
    "diagnostics": Reach(_STORED, moves_price=False),
    "thread": Reach(_STORED),
    "inference_geo": Reach(_TIER),
    "billing_policy": Reach(_ACCOUNT),
    "fallback_credit_token": Reach(_ACCOUNT),
    "workspace_id": Reach(_ACCOUNT),
    "user_profile_id": Reach(_ACCOUNT),
    "metadata": {"user_id": PLAIN},
    "output_config": {"effort": PLAIN},
    "service_tier": Reach(_TIER, values=("auto", "standard_only")),
    "speed": Reach(_TIER, values=("standard",)),
    "thinking": _THINKING,
    "tool_choice": {"type": PLAIN, "name": PLAIN, "disable_parallel_tool_use": PLAIN},
    "tools": OwnTools(
        {
            **dict.fromkeys(("type", "name", "description", "strict", "eager_input_streaming", "defer_loading"), PLAIN),
            "input_schema": ANY,
            "input_examples": ANY,
            "cache_control": _CACHE,
            "allowed_callers": [Reach(_CALLERS, values=("direct",))],
        },
        _messages_tool_type,
        ("custom",),
    ),
}

_CONVERSE: Mapping[str, Any] = {
    "additionalModelRequestFields": {
        **dict.fromkeys(("top_k", "topK", "repetition_penalty", "min_p", "reasoning_effort", "seed"), PLAIN),
        "thinking": _THINKING,
        "reasoning_config": PLAIN,
        "reasoningConfig": PLAIN,
        "inferenceConfig": {"topK": PLAIN, "reasoningConfig": PLAIN},
        "output_config": {"effort": PLAIN},
        "anthropic_beta": [_BETA],
        "service_tier": Reach(_TIER),
    },
    "additionalModelResponseFieldPaths": PLAIN,
    "guardrailConfig": Reach("names a guardrail, which is paid for by the text"),
    "outputConfig": {"effort": PLAIN, "textFormat": ANY},
    "performanceConfig": Reach(_TIER, values=({"latency": "standard"},)),
    "projectIdentifier": Reach(_ACCOUNT, values=("default",)),
    "promptVariables": Reach(_STORED, moves_price=False),
    "requestMetadata": PLAIN,
    "serviceTier": Reach(_TIER, values=({"type": "default"},)),
    "toolConfig": {
        "tools": OwnTools({"toolSpec": ANY, "cachePoint": _CACHE}, _converse_tool_type, ("toolSpec", "cachePoint")),
        "toolChoice": ANY,
    },
}

_INVOKE: Mapping[str, Any] = {
    "normalize": PLAIN,
    "embeddingTypes": PLAIN,
    "inputImage": Reach(_UNREDACTED),
    "input_type": PLAIN,
    "truncate": PLAIN,
    "embedding_types": PLAIN,
    "max_tokens": PLAIN,
    "images": Reach(_UNREDACTED),
    "inputs": Reach(_UNREDACTED),
    "n": Reach("asks for more than one answer"),
    "frequency_penalty": PLAIN,
    "presence_penalty": PLAIN,
    "response_format": {"type": PLAIN},
}

_OF_OPENAI = ("metadata", "moderation", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options")
_OF_OPENAI_TOO = ("prompt_cache_retention", "safety_identifier", "service_tier", "store", "tool_choice", "top_logprobs")

_RESPONSES: Mapping[str, Any] = {
    **{name: _CHAT[name] for name in (*_OF_OPENAI, *_OF_OPENAI_TOO, "user")},
    "access_programs": Reach(_ACCOUNT),
    "background": Reach(_KEPT, values=(False,)),
    "background_options": Reach(_KEPT),
    "context_management": Reach(_BEYOND),
    "conversation": Reach(_STORED, moves_price=False),
    "image": {"context_compression": PLAIN},
    "include": PLAIN,
    "max_tool_calls": PLAIN,
    "previous_response_id": Reach(_STORED),
    "prompt": Reach(_STORED),
    "reasoning": {"effort": PLAIN, "summary": PLAIN, "generate_summary": PLAIN, "mode": Reach(_TIER)},
    "text": {"format": ANY, "verbosity": PLAIN},
    "tools": OwnTools(
        {
            **dict.fromkeys(("type", "name", "description", "strict", "defer_loading"), PLAIN),
            "parameters": ANY,
            "output_schema": ANY,
            "format": ANY,
            "allowed_callers": [Reach(_CALLERS, values=("direct",))],
        },
        _chat_tool_type,
        ("function", "custom"),
    ),
    "truncation": PLAIN,
}

_COMPLETIONS: Mapping[str, Any] = {
    **dict.fromkeys(
        ("echo", "frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "suffix", "user"), PLAIN
    ),
    "best_of": Reach("asks for answers that are paid for and thrown away", values=(1,)),
    "n": Reach("asks for more than one answer", values=(1,)),
}

_GENERATE: Mapping[str, Any] = {
    "cachedContent": Reach(_STORED),
    "generationConfig": {
        **dict.fromkeys(("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs"), PLAIN),
        **dict.fromkeys(("responseMimeType", "mediaResolution", "audioTimestamp", "enableAffectiveDialog"), PLAIN),
        "enableEnhancedCivicAnswers": PLAIN,
        "candidateCount": Reach("asks for more than one answer", values=(1,)),
        "responseModalities": Reach(_OTHER_MEDIA, values=(["TEXT"],)),
        "responseSchema": ANY,
        "responseJsonSchema": ANY,
        "responseFormat": ANY,
        "imageConfig": Reach(_OTHER_MEDIA),
        "speechConfig": Reach(_OTHER_MEDIA),
        "audioTranscriptionConfig": Reach(_OTHER_MEDIA),
        "translationConfig": Reach(_OTHER_MEDIA),
        "modelSelectionConfig": Reach("names another model"),
        "routingConfig": Reach("names another model"),
        "thinkingConfig": PLAIN,
    },
    "labels": PLAIN,
    "modelArmorConfig": Reach(_SEARCH),
    "safetySettings": [PLAIN],
    "serviceTier": Reach(_TIER, values=("standard", "SERVICE_TIER_STANDARD")),
    "store": Reach(_KEPT, values=(False,), moves_price=False),
    "tools": OwnTools({"functionDeclarations": ANY}, _gemini_tool_type, ("functionDeclarations",)),
    "toolConfig": {"functionCallingConfig": PLAIN},
}

BODY_RULES: Mapping[WireFormat, Mapping[str, Any]] = {
    "openai-chat": _CHAT,
    "openai-responses": _RESPONSES,
    "openai-completions": _COMPLETIONS,
    "openai-embeddings": {"user": PLAIN, "input_type": PLAIN, "truncate": PLAIN},
    "openai-moderations": {},
    "anthropic-messages": _MESSAGES,
    "bedrock-converse": _CONVERSE,
    "bedrock-invoke": _INVOKE,
    "vertex-generate": _GENERATE,
}
"""The rules of the fields of each API's body."""

_TEXT_BLOCK = {"type": PLAIN, "text": PLAIN, "cache_control": _CACHE, "citations": ANY}
_CITATIONS = {"enabled": PLAIN}
_IMAGE_SOURCE = {"type": PLAIN, "media_type": PLAIN, "data": PLAIN, "url": LINK, "file_id": _FILE}
_IMAGE_BLOCK = {
    "type": PLAIN,
    "cache_control": _CACHE,
    "source": _IMAGE_SOURCE,
    "transformations": {"oversized_image": PLAIN},
}
_BEDROCK_SOURCE = {"bytes": PLAIN, "text": PLAIN, "content": [{"text": PLAIN}], "s3Location": _BUCKET}
_MEDIA = {"format": PLAIN, "source": _BEDROCK_SOURCE}

BLOCK_RULES: Mapping[WireFormat, Mapping[str, Any]] = {
    "openai-completions": {"tokens": PLAIN},
    "openai-embeddings": {"tokens": PLAIN},
    "openai-responses": {
        **dict.fromkeys(("type", "detail", "filename", "file_data", "input_audio"), PLAIN),
        "image_url": LINK,
        "file_url": LINK,
        "file_id": _FILE,
    },
    "openai-chat": {
        "type": PLAIN,
        "detail": PLAIN,
        "cache_control": _CACHE,
        "extra_content": {"google": {"thought_signature": PLAIN}},
        "index": PLAIN,
        "input": ANY,
        "name": PLAIN,
        "image_url": {"url": PLAIN, "detail": PLAIN},
        "input_audio": {"data": PLAIN, "format": PLAIN},
        "file": {"file_data": PLAIN, "filename": PLAIN, "file_id": _FILE},
        "prompt_cache_breakpoint": {"mode": PLAIN, "ttl": PLAIN},
    },
    "anthropic-messages": {
        **dict.fromkeys(("type", "title", "context"), PLAIN),
        "cache_control": _CACHE,
        "citations": ANY,
        "transformations": {"oversized_image": PLAIN},
        "source": {**_IMAGE_SOURCE, "content": [{**_TEXT_BLOCK, **_IMAGE_BLOCK, "citations": ANY}]},
        "content": [_TEXT_BLOCK],
        "file_id": _FILE,
    },
    "vertex-generate": {
        **dict.fromkeys(("thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"), PLAIN),
        "response": ANY,
        "inlineData": {"mimeType": PLAIN, "data": PLAIN, "displayName": PLAIN},
        "inline_data": {"mime_type": PLAIN, "data": PLAIN, "mimeType": PLAIN},
        "fileData": {"mimeType": PLAIN, "fileUri": _BUCKET, "displayName": PLAIN},
        "file_data": {"mime_type": PLAIN, "file_uri": _BUCKET},
    },
    "bedrock-converse": {
        "status": PLAIN,
        "type": PLAIN,
        "image": _MEDIA,
        "document": {**_MEDIA, "name": PLAIN, "context": PLAIN, "citations": _CITATIONS},
        "video": _MEDIA,
        "audio": _MEDIA,
        "searchResult": {"source": PLAIN, "title": PLAIN, "content": [{"text": PLAIN}], "citations": _CITATIONS},
    },
}
"""The rules of blocks that stay as they came. They go out only where the recipe passes attachments."""

MESSAGE_RULES: Mapping[WireFormat, Mapping[str, Any]] = {
    "openai-chat": {
        **dict.fromkeys(("role", "name", "refusal", "reasoning_content", "reasoning", "prefix", "weight"), PLAIN),
        "reasoning_details": ANY,
        "annotations": ANY,
        "function_call": {"name": PLAIN, "arguments": PLAIN},
        "audio": Reach(_STORED, moves_price=False),
    },
    "openai-responses": {"role": PLAIN},
    "anthropic-messages": {"cache_control": _CACHE},
}
"""The rules of the fields of a message beside its role and content."""
