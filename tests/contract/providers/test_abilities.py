"""Every cell of ``promptmill providers``: what a provider offers works, what it lacks is refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from promptmill.domain.completion import CompletionRequest, JsonSchema, Message, Text
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import ABILITIES, PROVIDERS, Ability
from promptmill.prices.genai import GenaiPriceBook
from tests.contract.providers.conftest import SCHEMA, WEATHER, asking, nothing_sent
from tests.contract.providers.scenes import SCENES, opened
from tests.fakes.clock import START
from tests.fakes.providers.behaviours import Answer, Break, Refuse, Reply

PLAIN = asking()
EMBEDDING = CompletionRequest(messages=tuple(Message("user", (Text(t),)) for t in ("sky", "sea!")), kind="embedding")
SYSTEM = asking(system="Be brief.")
STRUCTURED = asking(json_schema=JsonSchema(SCHEMA))
TOOLS = asking(tools=(WEATHER,))


async def chat(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Answer("Blå."))
        talk = CompletionRequest(
            messages=(
                Message("user", (Text("Hi"),)),
                Message("assistant", (Text("Hello."),)),
                Message("user", (Text("Sky colour?"),)),
            ),
            max_output_tokens=20,
            temperature=0.0 if name != "perplexity" else None,
        )
        completion = await stand.ask(talk)
    assert stand.fake.refused == []
    assert completion.text == "Blå."
    assert completion.finish_reason in ("stop", "unknown")
    assert all(text in stand.fake.sent[0].data.decode() for text in ("Hi", "Hello.", "Sky colour?"))


async def embeddings(name: str) -> None:
    async with opened(name, **SCENES[name].embedding) as stand:
        completion = await stand.ask(EMBEDDING)
    assert stand.fake.refused == []
    assert [len(vector) > 0 for vector in completion.embeddings] == [True, True]
    assert completion.embeddings[0] != completion.embeddings[1]
    assert completion.usage.input_total > 0


async def streaming(name: str) -> None:
    async with opened(name, stream=True, stall_s=0.05) as stand:
        stand.will(Answer("Blå himmel."), *(Break(how) for how in ("error", "cut", "end", "stall")))
        completion = await stand.ask(PLAIN)
        for _ in range(4):
            with pytest.raises(ProviderError) as caught:
                await stand.ask(PLAIN)
            assert caught.value.usage_unknown
    assert stand.fake.refused == []
    assert (completion.text, completion.first_token_ms) == ("Blå himmel.", SCENES[name].first_token_ms)
    assert caught.value.code == "stalled"


async def system_prompt(name: str) -> None:
    async with opened(name) as stand:
        await stand.ask(SYSTEM)
    assert stand.fake.refused == []
    assert "Be brief." in stand.fake.sent[0].data.decode()


async def structured_output(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Answer('{"colour": "blue"}'))
        completion = await stand.ask(STRUCTURED)
    assert stand.fake.refused == []
    assert completion.text == '{"colour": "blue"}'
    assert "colour" in stand.fake.sent[0].data.decode()


async def tools(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Answer("", finish="tool", tool_call=("weather", {"place": "東京"})))
        completion = await stand.ask(TOOLS)
    assert stand.fake.refused == []
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [("weather", {"place": "東京"})]
    assert completion.finish_reason == "tool"


async def usage(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Answer(text="x" * 40, input_tokens=30, output_tokens=12))
        completion = await stand.ask(PLAIN)
    if PROVIDERS[name].usage == "reported":
        assert (completion.usage.input_total, completion.usage.output_total) == (30, 12)
    assert completion.usage.source == PROVIDERS[name].usage
    assert completion.usage.output_total > 0


async def cost(name: str) -> None:
    async with opened(name) as stand:
        completion = await stand.ask(PLAIN)
    price = GenaiPriceBook().price(stand.route, completion.usage, model=completion.model, at=START)
    assert (price.nano_usd, price.basis) == (SCENES[name].nano_usd, SCENES[name].basis)


async def throttle(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Refuse("throttled", {"Retry-After": "7"}))
        with pytest.raises(RetryLaterError) as caught:
            await stand.ask(PLAIN)
    assert caught.value.retry_after_s == 7
    assert not caught.value.usage_unknown


async def outage(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Refuse("overloaded"), Reply(500, b"oops"))
        for _ in range(2):
            with pytest.raises(RetryLaterError):
                await stand.ask(PLAIN)


async def auth_error(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Refuse("unauthorized"), Refuse("out_of_money"), Refuse("no_such_model"))
        for _ in range(3):
            with pytest.raises(RouteClosedError):
                await stand.ask(PLAIN)


async def too_long(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Refuse("too_long"))
        with pytest.raises(RecordRefusedError) as caught:
            await stand.ask(PLAIN)
    assert caught.value.code == "context_length_exceeded"


async def filtered(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Answer("", finish="filter"), Refuse("filtered"))
        assert (await stand.ask(PLAIN)).finish_reason == "filter"
        if SCENES[name].refuses_filtered:
            with pytest.raises(RecordRefusedError):
                await stand.ask(PLAIN)


async def malformed(name: str) -> None:
    async with opened(name) as stand:
        stand.will(Reply(200, b"<html>ok</html>", {"Content-Type": "text/html"}))
        with pytest.raises(RetryLaterError) as caught:
            await stand.ask(PLAIN)
    assert caught.value.usage_unknown


CHECKS: dict[Ability, Callable[[str], Awaitable[None]]] = {
    "chat": chat,
    "embeddings": embeddings,
    "streaming": streaming,
    "system prompt": system_prompt,
    "structured output": structured_output,
    "tools": tools,
    "usage": usage,
    "cost": cost,
    "throttle": throttle,
    "outage": outage,
    "auth error": auth_error,
    "context too long": too_long,
    "filtered content": filtered,
    "malformed answer": malformed,
}
REFUSED: dict[Ability, tuple[CompletionRequest, str]] = {
    "embeddings": (EMBEDDING, "input"),
    "system prompt": (SYSTEM, "system"),
    "structured output": (STRUCTURED, "response_format"),
    "tools": (TOOLS, "tools"),
}
NOT_ASKED_FOR: frozenset[Ability] = frozenset({"streaming", "filtered content", "context too long"})
"""What a provider may lack that no request asks for; a recipe's check refuses ``stream: true``."""


def test_every_provider_has_a_scene_and_every_ability_a_check() -> None:
    assert SCENES.keys() == PROVIDERS.keys()
    assert tuple(CHECKS) == ABILITIES
    assert all(p.lacks <= REFUSED.keys() | NOT_ASKED_FOR for p in PROVIDERS.values())


@pytest.mark.parametrize("ability", ABILITIES)
@pytest.mark.parametrize("name", SCENES)
async def test_a_cell(name: str, ability: Ability) -> None:
    if ability not in PROVIDERS[name].lacks:
        await CHECKS[ability](name)
    elif ability in REFUSED:
        request, field = REFUSED[ability]
        async with opened(name) as stand:
            with nothing_sent(stand), pytest.raises(RecordError) as caught:
                await stand.ask(request)
        assert (caught.value.code, caught.value.field) == ("unsupported_field", field)
