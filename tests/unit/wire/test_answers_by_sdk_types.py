"""Every reason, block and item that the official SDKs know in an answer has a decision: a new one fails here until it has."""

from __future__ import annotations

from typing import Any, get_args

import anthropic.types
import botocore.session
import pytest
from openai.types.responses import ResponseOutputItem

from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.wire.anthropic_messages import answer as anthropic_answer
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.openai import responses as openai_responses
from tests.unit.prices.test_every_kind_of_price import price_of, route

REQUEST = CompletionRequest(messages=(Message("user", (Text("hi"),)),))
OK = HttpAnswer(200, {}, b"")
BEDROCK: Any = botocore.session.get_session().get_service_model("bedrock-runtime")


@pytest.mark.parametrize("reason", get_args(anthropic.types.StopReason))
def test_anthropics_reasons(reason: str) -> None:
    raw = {"content": [], "stop_reason": reason, "usage": {"input_tokens": 1, "output_tokens": 1}}
    completion = anthropic_answer.read_answer(OK, raw, REQUEST, request_id="")
    assert completion.finish_reason != "unknown" or completion.notes


@pytest.mark.parametrize("reason", BEDROCK.shape_for("StopReason").enum)
def test_converses_reasons(reason: str) -> None:
    raw = {"output": {"message": {"content": []}}, "stopReason": reason}
    assert converse_answer.read_answer(OK, raw, REQUEST, request_id="").finish_reason != "unknown"


SHOWN_ONLY_IN_ITS_BODY = {"image", "document", "video", "audio", "toolResult", "guardContent", "searchResult"}
NO_PART_OF_AN_ANSWER = {"toolAddition", "toolRemoval"}


@pytest.mark.parametrize("name", list(BEDROCK.shape_for("ContentBlock").members))
def test_converses_blocks(name: str) -> None:
    raw = {"output": {"message": {"content": [{name: {"x": 1}}, {"text": "Blue."}]}}, "stopReason": "end_turn"}
    completion = converse_answer.read_answer(OK, raw, REQUEST, request_id="")
    assert completion.text == "Blue."
    assert bool(completion.notes) is (name in SHOWN_ONLY_IN_ITS_BODY | NO_PART_OF_AN_ANSWER)


def types_in(union: Any) -> list[str]:
    """Return the values of ``type`` in a union of the SDK's models."""
    models = get_args(get_args(union)[0])
    return [kind for model in models for kind in get_args(model.model_fields["type"].annotation)]


@pytest.mark.parametrize("kind", types_in(anthropic.types.ContentBlock))
def test_anthropics_blocks_are_all_known(kind: str) -> None:
    raw = {"content": [{"type": kind}, {"type": "text", "text": "Blue."}], "stop_reason": "end_turn"}
    completion = anthropic_answer.read_answer(OK, raw, REQUEST, request_id="")
    assert (completion.text, completion.notes) == ("Blue.", ())


FREE = {
    *("message", "function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"),
    *("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "reasoning", "compaction"),
    *("function_call_output", "computer_call_output", "local_shell_call_output", "apply_patch_call_output"),
    *("custom_tool_call_output", "shell_call_output", "tool_search_call", "tool_search_output", "additional_tools"),
    *("program", "program_output"),
}
BY_THE_CALL = {"web_search_call": 10_000_000, "file_search_call": 2_500_000}
UNPRICED = {"image_generation_call", "code_interpreter_call", "shell_call"}
"""Items that cost by the picture or by the container: their cost is unknown."""


def test_there_is_a_decision_on_every_item() -> None:
    assert set(types_in(ResponseOutputItem)) == FREE | BY_THE_CALL.keys() | UNPRICED


@pytest.mark.parametrize("kind", sorted(FREE | BY_THE_CALL.keys() | UNPRICED))
def test_items_of_responses_are_read_and_priced(kind: str) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Blue."}]}
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    raw = {"status": "completed", "output": [{"type": kind, "content": []}, message], "usage": usage}

    completion = openai_responses.read_answer(OK, raw, REQUEST, request_id="")

    wanted = route("openai/gpt-5.4", endpoint="responses")
    plain = price_of(wanted, Usage(input_total=1000, output_total=100)).nano_usd
    assert plain is not None
    fee = None if kind in UNPRICED else BY_THE_CALL.get(kind, 0)
    assert completion.text == "Blue."
    assert price_of(wanted, completion.usage).nano_usd == (None if fee is None else plain + fee)
