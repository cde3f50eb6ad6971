"""Lines that reach out: each is an error of its own that names line, field and remedy, and costs no neighbour its answer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.job import JobState
from promptmill.domain.recipe import Recipe, Route
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe

BEDROCK = Route("bedrock/amazon.nova-lite-v1:0", "bedrock", "amazon.nova-lite-v1:0")
METADATA = "http://169.254.169.254/"


def chat(**fields: Any) -> dict[str, Any]:
    return {"custom_id": "c", "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}}


def messages(*blocks: Any, **fields: Any) -> dict[str, Any]:
    said = {"role": "user", "content": [{"type": "text", "text": "Hi"}, *blocks]}
    return {"custom_id": "a", "params": {"model": "m", "max_tokens": 9, "messages": [said], **fields}}


def converse(*blocks: Any, **fields: Any) -> dict[str, Any]:
    return {
        "recordId": "b",
        "modelInput": {"messages": [{"role": "user", "content": [{"text": "Hi"}, *blocks]}], **fields},
    }


def source(**given: Any) -> dict[str, Any]:
    return {"type": "document", "source": given}


def remote(reference: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": reference}}}


MCP = {"type": "mcp", "server_url": "https://evil.example", "server_label": "e"}
MCP_SERVER = {"type": "url", "url": "https://evil.example", "name": "x", "authorization_token": "t"}
S3 = {"s3Location": {"uri": "s3://bucket/results/other/answers.jsonl"}}
IMAGE_URL = {"type": "image_url", "image_url": {"url": METADATA}}
SCHEMA_ELSEWHERE = {"type": "json_schema", "json_schema": {"name": "a", "schema": remote("https://evil.example/s")}}
CHAT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("body.n", chat(n=50)),
    ("body.best_of", chat(best_of=20)),
    ("body.store", chat(store=True)),
    ("body.service_tier", chat(service_tier="priority")),
    ("body.web_search_options", chat(web_search_options={})),
    ("body.extra_headers", chat(extra_headers={"Authorization": "Bearer z"})),
    ("body.extra_body", chat(extra_body={"a": 1})),
    ("body.extra_query", chat(extra_query={"a": 1})),
    ("body.api_base", chat(api_base=METADATA)),
    ("body.base_url", chat(base_url=METADATA)),
    ("body.api_key", chat(api_key="sk-z")),
    ("body.mcp_servers", chat(mcp_servers=[MCP_SERVER])),
    ("body.tools[0]", chat(tools=[MCP])),
    ("body.tools[1]", chat(tools=[{"type": "custom", "custom": {"name": "c"}}, {"type": "code_interpreter"}])),
    ("body.tools[0].server_url", chat(tools=[{"type": "custom", "custom": {}, "server_url": METADATA}])),
    ("body.background", chat(background=True)),
    ("body.previous_response_id", chat(previous_response_id="resp_1")),
    ("body.conversation", chat(conversation="conv_1")),
    ("body.prompt", chat(prompt={"id": "pmpt_1"})),
    ("body.prediction", chat(prediction={"type": "content", "content": "x"})),
    ("body.moderation", chat(moderation={"model": "dearest"})),
    ("body.audio", chat(audio={"voice": "alloy", "format": "wav"})),
    ("body.modalities", chat(modalities=["text", "audio"])),
    ("body.callbacks", chat(callbacks=["https://evil.example"])),
    ("body.mock_response", chat(mock_response="free")),
    ("body.fallbacks", chat(fallbacks=["openai/gpt-9"])),
    ("body.models", chat(models=["openai/gpt-9"])),
    ("body.plugins", chat(plugins=[{"id": "web"}])),
    ("body.guardrails", chat(guardrails=["g"])),
    ("body.cache", chat(cache={"no-cache": True})),
    ("body.user_config", chat(user_config={"model_list": [1]})),
    ("body.prompt_cache_retention", chat(prompt_cache_retention="24h")),
    ("body.reasoning.mode", chat(reasoning={"effort": "low", "mode": "pro"})),
    ("body.thinking.api_key", chat(thinking={"type": "enabled", "api_key": "z"})),
    ("body.max_new_tokens", chat(max_new_tokens=100_000)),
    ("body.aws_role_name", chat(aws_role_name="admin")),
    ("body.messages[0].content[0].image_url", chat(messages=[{"role": "user", "content": [IMAGE_URL]}])),
    (
        "body.messages[0].content[0].file.file_id",
        chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]),
    ),
    ("json_schema", chat(response_format=SCHEMA_ELSEWHERE)),
    (
        "tools",
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": remote("file:///etc/passwd")}}]),
    ),
    ("body.functions", chat(functions=[{"name": "f", "parameters": remote("https://evil.example")}])),
)
MESSAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("params.container", messages(container={"skills": [{"type": "anthropic", "skill_id": "pdf"}]})),
    ("params.betas[0]", messages(betas=["mcp-client-2025-04-04"])),
    ("params.anthropic_beta[1]", messages(anthropic_beta=["pdfs-2024-09-25", "context-1m-2025-08-07"])),
    ("params.inference_geo", messages(inference_geo="us")),
    ("params.speed", messages(speed="fast")),
    ("params.service_tier", messages(service_tier="priority")),
    ("params.mcp_servers", messages(mcp_servers=[MCP_SERVER])),
    ("params.tools[0]", messages(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 50}])),
    ("params.tools[0]", messages(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}])),
    ("params.tools[0]", messages(tools=[{"type": "code_execution_20250825", "name": "code_execution"}])),
    ("params.tools[0]", messages(tools=[{"type": "computer_toolset_20260801"}])),
    ("params.tools[0]", messages(tools=[{"type": "mcp_toolset", "mcp_server_name": "x"}])),
    (
        "params.tools[0].allowed_callers[0]",
        messages(tools=[{"name": "f", "input_schema": {}, "allowed_callers": ["code_execution_20260120"]}]),
    ),
    ("params.context_management", messages(context_management={"edits": [{"type": "compact_20260112"}]})),
    ("params.user_profile_id", messages(user_profile_id="p")),
    ("params.workspace_id", messages(workspace_id="w")),
    ("params.fallbacks", messages(fallbacks=[{"model": "dearest"}])),
    ("params.output_config.task_budget", messages(output_config={"effort": "low", "task_budget": {"total": 9}})),
    ("params.metadata.webhook", messages(metadata={"user_id": "u", "webhook": {"url": METADATA}})),
    ("params.messages[0].content[1].source.url", messages(source(type="url", url=METADATA))),
    ("params.messages[0].content[1].source.url", messages(source(type="url", url="https://2852039166/latest"))),
    ("params.messages[0].content[1].source.file_id", messages(source(type="file", file_id="f"))),
    ("params.messages[0].content[1].file_id", messages({"type": "container_upload", "file_id": "f"})),
    (
        "params.messages[0].content[1].source.content[0].source.url",
        messages(source(type="content", content=[{"type": "image", "source": {"type": "url", "url": METADATA}}])),
    ),
)
CONVERSE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("modelInput.guardrailConfig", converse(guardrailConfig={"guardrailIdentifier": "x", "guardrailVersion": "1"})),
    ("modelInput.additionalModelRequestFields.api_key", converse(additionalModelRequestFields={"api_key": "z"})),
    (
        "modelInput.additionalModelRequestFields.tools",
        converse(additionalModelRequestFields={"top_k": 5, "tools": [{"type": "web_search_20250305"}]}),
    ),
    ("modelInput.additionalModelRequestFields.max_tokens", converse(additionalModelRequestFields={"max_tokens": 9**9})),
    ("modelInput.performanceConfig", converse(performanceConfig={"latency": "optimized"})),
    ("modelInput.promptVariables", converse(promptVariables={"a": {"text": "x"}})),
    ("modelInput.serviceTier", converse(serviceTier={"type": "priority"})),
    ("modelInput.toolConfig.tools[0]", converse(toolConfig={"tools": [{"systemTool": {"name": "nova_grounding"}}]})),
    ("modelInput.messages[0].content[1].image.source.s3Location", converse({"image": {"format": "png", "source": S3}})),
    (
        "modelInput.messages[0].content[1].document.source.s3Location",
        converse({"document": {"format": "pdf", "name": "d", "source": S3}}),
    ),
    ("modelInput.messages[0].content[1].video.source.s3Location", converse({"video": {"format": "mp4", "source": S3}})),
    (
        "modelInput.images",
        {"recordId": "i", "modelInput": {"texts": ["a"], "input_type": "image", "images": ["data:"]}},
    ),
    (
        "modelInput.inputImage",
        {"recordId": "i", "modelInput": {"inputText": "a", "dimensions": 256, "inputImage": "AA"}},
    ),
)
KINDS = {
    "chat": (CHAT, chat(), ROUTE),
    "messages": (MESSAGES, messages(), SPARE),
    "converse": (CONVERSE, converse(), BEDROCK),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_reaches_out_is_refused_by_name_and_its_neighbours_are_answered(kind: str) -> None:
    attacks, harmless, route = KINDS[kind]
    mill = Mill(recipe(routes=(route,), attachments="pass"))
    lines = [line for _, attack in attacks for line in (harmless, attack)]

    job = await mill.mill("inbox/r/attack.jsonl", jsonl(lines))

    assert job.state is JobState.DONE
    assert (job.counts.answered, job.counts.failed) == (len(attacks), len(attacks))
    assert isinstance(mill.models, FakeModels)
    assert len(mill.models.calls) == len(attacks)
    for number, (field, _) in enumerate(attacks):
        told = str(mill.lines(job, "results")[2 * number + 1])
        assert f"line {2 * number + 2}: {field}: " in told or f"line {2 * number + 2}: " in told
        assert field in told or field in ("json_schema", "tools"), told
        assert any(
            remedy in told for remedy in ("leave it out", "repeat the line", "use ", "write what", "ask for a")
        ), told


HARMLESS_CHAT = chat(
    frequency_penalty=0.5, presence_penalty=0.5, logit_bias={"50256": -100}, logprobs=True, top_logprobs=2,
    metadata={"a": "b"}, modalities=["text"], parallel_tool_calls=False, prompt_cache_key="k", reasoning_effort="low",
    safety_identifier="s", service_tier="auto", store=False, user="u", verbosity="low", seed=7, stop=["x"], n=1,
    temperature=1, top_p=0.9, max_completion_tokens=64, response_format={"type": "json_object"}, min_p=0.1,
    chat_template_kwargs={"enable_thinking": False}, stream=False,
)  # fmt: skip
HARMLESS_MESSAGES = messages(
    metadata={"user_id": "u"}, thinking={"type": "enabled", "budget_tokens": 1024}, top_k=5, temperature=1,
    cache_control={"type": "ephemeral", "ttl": "1h"}, service_tier="standard_only", output_config={"effort": "low"},
    stop_sequences=["x"], system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    tools=[{"name": "f", "input_schema": {"type": "object", "$defs": {"a": {}}, "$ref": "#/$defs/a"}, "input_examples": [{}]}],
    tool_choice={"type": "auto", "disable_parallel_tool_use": True}, anthropic_beta=["extended-cache-ttl-2025-04-11"],
)  # fmt: skip
HARMLESS_CONVERSE = converse(
    {"document": {"format": "pdf", "name": "d", "source": {"bytes": "AAAA"}}},
    additionalModelRequestFields={"top_k": 5, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    additionalModelResponseFieldPaths=["/stop_sequence"], requestMetadata={"team": "a"}, serviceTier={"type": "default"},
    performanceConfig={"latency": "standard"}, inferenceConfig={"maxTokens": 64}, outputConfig={"effort": "low"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "route"), [(HARMLESS_CHAT, ROUTE), (HARMLESS_MESSAGES, SPARE), (HARMLESS_CONVERSE, BEDROCK)]
)
async def test_lines_with_harmless_fields_run_unchanged(line: Any, route: Route) -> None:
    mill = Mill(recipe(routes=(route,), attachments="pass"))
    job = await mill.mill("inbox/r/good.jsonl", jsonl([line]))
    assert job.counts.answered == 1, mill.file(job, "results")


ALLOWING = structs.replace(ROUTE, allow=("web_search_options", "tools.web_search", "min_tokens_of_ours"))


def searching(**changes: Any) -> Recipe:
    return recipe(routes=(ALLOWING, structs.replace(SPARE, price=None)), **changes)


async def test_the_recipe_may_allow_a_field_and_its_cost_is_unknown_rather_than_too_low() -> None:
    mill = Mill(searching())
    job = await mill.mill("inbox/r/a.jsonl", jsonl([chat(web_search_options={}), chat(min_tokens_of_ours=1), chat()]))
    assert job.counts.answered == 3
    costs = [attempt["nano_usd"] for attempt in mill.lines(job, "attempts")]
    assert costs[0] is None
    assert all(costs[1:])


async def test_a_budget_does_not_pay_for_what_has_no_bound() -> None:
    mill = Mill(searching(budget=BudgetPolicy(per_job=10**12)))
    job = await mill.mill("inbox/r/a.jsonl", jsonl([chat(web_search_options={}), chat()]))
    assert (job.counts.answered, job.counts.failed) == (1, 1)
    assert mill.lines(job, "results")[0]["error"]["code"] == "no_bound"
    assert isinstance(mill.models, FakeModels)
    assert len(mill.models.calls) == 1


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://cdn.example.com:8080/a.png?x=1"])
async def test_addresses_go_out_only_where_the_recipe_passes_them(url: str) -> None:
    line = chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    answered = {}
    for attachments in ("refuse", "inline", "pass"):
        mill = Mill(recipe(attachments=attachments))
        answered[attachments] = (await mill.mill("inbox/r/a.jsonl", jsonl([line]))).counts.answered
    assert answered == {"refuse": 0, "inline": 0, "pass": 1}


async def test_inline_attachments_need_no_address() -> None:
    line = chat(
        messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
        ]
    )
    mill = Mill(recipe(attachments="inline"))
    assert (await mill.mill("inbox/r/a.jsonl", jsonl([line]))).counts.answered == 1
    document = messages(source(type="url", url="https://example.com/a.pdf"))
    mill = Mill(recipe(routes=(SPARE,), attachments="inline"))
    assert (await mill.mill("inbox/r/a.jsonl", jsonl([document]))).counts.failed == 1


PRIVATE = (
    "http://localhost/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0177.0.0.1/",
    "https://0x7f.0.0.1/", "https://0x7f000001/", "https://[::1]/", "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::]/", "https://169.254.169.254./", "https://10.0.0.1/",
    "https://user:pass@example.com/", "https://example.com@10.0.0.1/", "https://metadata.google.internal/",
    "https://printer.local/", "https://intranet/", "https://10.0.0.1\\.example.com/", "ftp://example.com/", "gs://b/k",
    "s3://b/k", "file:///etc/passwd", "//example.com/a", "https:///a", "https://example.com:0/", "https://exa mple.com/",
    "https://0/", "https://[fe80::1%25eth0]/", "https://224.0.0.1/", "https://①②⑦.0.0.1/", "https://192.168.1.1.:443/",
)  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
async def test_no_line_names_an_address_in_a_private_network(url: str) -> None:
    lines = [
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]),
        messages(source(type="url", url=url)),
        messages({"type": "image", "source": {"type": "url", "url": url}}),
    ]
    for line, route in zip(lines, (ROUTE, SPARE, SPARE), strict=True):
        mill = Mill(recipe(routes=(route,), attachments="pass"))
        assert (await mill.mill("inbox/r/a.jsonl", jsonl([line]))).counts.failed == 1, line
