"""``promptmill limits``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.limit_group import Estimate, Found, Member
from promptmill.domain.limits import LimitRule, Limits, Told
from promptmill.domain.recipe import Route
from promptmill.recipes.limits_document import parse_limits
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json

OPENAI = Route("openai/gpt-6-luna", "openai", "gpt-6-luna", key="openai")
CLAUDE = Route("anthropic/claude", "anthropic", "claude", key="anthropic")
VLLM = Route("compatible/qwen", "compatible", "qwen", base_url="https://llm.example.com/v1")
NEW = Route("bedrock/nova", "bedrock", "nova", region="eu-central-1")


def group(route: Route) -> str:
    return Limits().group_of(route).name


@pytest.fixture
def target() -> FakeTarget:
    target = FakeTarget(recipe("reviews", routes=(OPENAI, CLAUDE)), recipe("notes", routes=(VLLM, NEW, OPENAI)))
    now = target.services.clock.now().timestamp()
    groups = target.services.limit_groups
    member = Member("job.1", now + 20)
    asyncio.run(groups.show(group(OPENAI), "w", member, found=Found(Told(now, 5_000.0, 160_000.0))))
    asyncio.run(groups.show(group(CLAUDE), "w", member, found=Found(Told(now, 50.0, 0.0, 30_000.0, 8_000.0))))
    asyncio.run(groups.leave(group(CLAUDE), "w"))
    asyncio.run(groups.set_estimate(group(VLLM), seen=None, to=Estimate(2.0, now - 1000, reached=True)))
    return target


def limits_of(document: dict[str, Any], model: str) -> list[tuple[str, int, str, bool]]:
    (found,) = (each for each in document["limits"] if model in each["models"])
    return [(limit["counted"], limit["per_minute"], limit["source"], limit["used"]) for limit in found["limits"]]


def test_each_limit_is_shown_with_its_source(target: FakeTarget) -> None:
    target.mill.recipes.configured = Limits((LimitRule((OPENAI.id,), 4_000, key="openai"),))
    document, code = typed_json(target, "limits")
    assert code == 0
    assert limits_of(document, OPENAI.id) == [
        ("requests", 4_000, "configured", True),
        ("requests", 5_000, "told", False),
        ("tokens", 160_000, "told", True),
    ]
    assert limits_of(document, CLAUDE.id) == [
        ("requests", 50, "told", True),
        ("input_tokens", 30_000, "told", True),
        ("output_tokens", 8_000, "told", True),
    ]
    ((counted, per_minute, source, used),) = limits_of(document, VLLM.id)
    assert (counted, source, used) == ("requests", "learnt", True)
    assert 110 <= per_minute <= 130
    assert limits_of(document, NEW.id) == []
    shown = typed(target, "limits").stdout
    assert "unknown" in shown
    assert "4,000  configured" in shown


def test_the_entries_are_a_document_that_sets_what_is_known(target: FakeTarget) -> None:
    document, _ = typed_json(target, "limits")
    configured = parse_limits(document["entries"])
    assert configured.group_of(OPENAI).requests_per_minute == 5_000
    assert configured.group_of(OPENAI).tokens_per_minute == 160_000
    assert configured.group_of(CLAUDE).output_tokens_per_minute == 8_000
    assert configured.group_of(VLLM).known
    assert not configured.group_of(NEW).known
    shown = typed(target, "limits").stdout
    assert document["entries"] in shown
    target.mill.recipes.configured = configured
    assert typed_json(target, "limits")[0]["entries"] == "", "there is nothing left to write down"


def test_bedrock_s_quotas_are_those_of_the_account() -> None:
    route = Route("bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock", "any", region="eu-central-1")
    target = FakeTarget(recipe(routes=(route, OPENAI)))
    quota = "Cross-region model inference {} per minute for Anthropic Claude Haiku 4.5"
    target.services.account.default_quotas = {quota.format("requests"): 250.0, quota.format("tokens"): 100_000.0}
    target.services.account.quotas = {quota.format("requests"): 1_000.0}
    document, _ = typed_json(target, "limits")
    assert limits_of(document, route.id) == [("requests", 1_000, "quota", False), ("tokens", 100_000, "quota", False)]
    assert limits_of(document, OPENAI.id) == []
    target.mill.recipes.configured = parse_limits(document["entries"])
    assert limits_of(typed_json(target, "limits")[0], route.id)[0] == ("requests", 1_000, "configured", True)


def test_the_prefix_of_the_deployment_s_secrets_is_no_part_of_an_entry() -> None:
    route = structs.replace(OPENAI, key="promptmill/dev/openai")
    target = FakeTarget(recipe(routes=(route,)))
    target.settings = structs.replace(target.settings, secret_prefix="promptmill/dev/")
    asyncio.run(target.services.limit_groups.show(group(route), "w", Member("j", 0.0), found=Found(Told(0.0, 60.0))))
    document, _ = typed_json(target, "limits")
    assert "key: openai," in document["entries"]


def test_replies_that_contradict_themselves_are_told_of() -> None:
    target = FakeTarget(recipe(routes=(OPENAI,)))
    now = target.services.clock.now().timestamp()
    told = Told(now, doubted=True)
    asyncio.run(target.services.limit_groups.show(group(OPENAI), "w", Member("j", now), found=Found(told)))
    assert "contradict" in typed(target, "limits").stdout


def test_without_recipes_there_is_nothing_to_show() -> None:
    assert "no routes yet" in typed(FakeTarget(), "limits").stdout
