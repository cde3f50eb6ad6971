"""The settings of a route: API, streaming, address, wire and price."""

from __future__ import annotations

import pytest

from promptmill.domain.recipe import Recipe, Route, UserPrice, Wire
from promptmill.recipes.recipe_document import check_recipe, parse_recipe


def route(line: str, more: str = "") -> Route:
    return recipe(f"routes:\n  - {line}\n{more}").routes[0]


def recipe(text: str) -> Recipe:
    return parse_recipe("sample", text, stage="dev")


def mistakes(line: str) -> dict[str, str]:
    found, problems = check_recipe("sample", f"routes:\n  - {line}\n", stage="dev")
    assert found is None
    return {problem.path: problem.reason for problem in problems}


def test_everything_that_a_route_can_say() -> None:
    found = route(
        "{model: azure/my-luna, key: promptmill/azure, base_url: 'https://r.openai.azure.com', dialect: responses, "
        "stream: true, stall_timeout: 20, api_version: 2024-10-21-preview, price_as: azure/gpt-6-luna, "
        "wire: {system: developer, max_tokens: max_new_tokens, key_header: Authorization, names: {prompt: text}}}"
    )
    assert (found.endpoint, found.stream, found.stall_s) == ("responses", True, 20.0)
    assert (found.api_version, found.price_as) == ("2024-10-21-preview", "azure/gpt-6-luna")
    assert found.wire == Wire(
        system="developer", max_tokens="max_new_tokens", key_header="Authorization", names={"prompt": "text"}
    )


def test_what_is_not_said_leaves_the_provider_as_it_is() -> None:
    found = route("bedrock/amazon.nova-lite-v1:0")
    assert (found.endpoint, found.stream, found.wire, found.price_as) == ("", False, Wire(), "")


def test_a_recipe_streams_on_every_route_that_can() -> None:
    routes = """
routes:
  - bedrock/amazon.nova-lite-v1:0
  - {model: openai/a, key: k, stream: false}
  - {model: openai/b, key: k, dialect: embeddings}
  - {model: perplexity/c, key: k}
stream: true
"""
    assert [one.stream for one in recipe(routes).routes] == [True, False, False, True]


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("{usd_per_second: '0.000975'}", UserPrice(usd_per_second="0.000975")),
        ("{usd_per_hour: 1.80, calls_at_once: 6}", UserPrice(usd_per_hour="1.80", calls_at_once=6)),
        (
            "{usd_per_request: 0.00265, covered_output_tokens: 25, output_usd_per_mtok: 63.5}",
            UserPrice(usd_per_request="0.00265", covered_output_tokens=25, output_usd_per_mtok="63.5"),
        ),
        ("{input_usd_per_mtok: 0, output_usd_per_mtok: 0}", UserPrice("0", "0")),
        (
            "{input_usd_per_mtok: 1, output_usd_per_mtok: 2, cache_write_1h_usd_per_mtok: 3}",
            UserPrice("1", "2", cache_write_1h_usd_per_mtok="3"),
        ),
    ],
)
def test_prices_of_every_kind(price: str, expected: UserPrice) -> None:
    assert route(f"{{model: openai/m, key: k, price: {price}}}").price == expected


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("{}", "a price has input_usd_per_mtok and output_usd_per_mtok, or one of"),
        ("{cache_read_usd_per_mtok: 1}", "a price has input_usd_per_mtok"),
        ("{input_usd_per_mtok: 1}", "output_usd_per_mtok is missing: write 0 where it costs nothing"),
        ("{output_usd_per_mtok: 1}", "input_usd_per_mtok is missing"),
        ("{usd_per_second: 1, calls_at_once: 2}", "calls_at_once goes with usd_per_hour"),
        ("{usd_per_second: 1, covered_output_tokens: 2}", "covered_output_tokens goes with usd_per_request"),
    ],
)
def test_a_price_that_would_leave_something_out(price: str, reason: str) -> None:
    found = mistakes(f"{{model: openai/m, key: k, price: {price}}}")
    assert reason in found["routes[0].price"]


@pytest.mark.parametrize("value", ["-1", "1000001", "NaN", "yes", "[1]"])
@pytest.mark.parametrize("key", ["usd_per_request", "usd_per_second", "usd_per_hour"])
def test_amounts_that_are_none(key: str, value: str) -> None:
    assert f"routes[0].price.{key}" in mistakes(f"{{model: openai/m, key: k, price: {{{key}: {value}}}}}")


@pytest.mark.parametrize(
    ("line", "path", "reason"),
    [
        ("{model: openai/m, key: k, dialect: invoke}", "routes[0].dialect", "openai is spoken to in: chat"),
        ("{model: gooseai/m, key: k, dialect: chat}", "routes[0].dialect", "gooseai is spoken to in: completions"),
        ("{model: openai/m, key: k, dialect: soap}", "routes[0].dialect", ""),
        ("{model: openai/m, key: k, dialect: embeddings, stream: true}", "routes[0].stream", "are not streamed"),
        ("{model: cloudflare/m, key: k}", "routes[0].account", "cloudflare needs it"),
        ("{model: openai/m, key: k, account: a}", "routes[0].account", "openai takes none"),
        ("{model: openai/m, key: k, api_version: v}", "routes[0].api_version", "openai takes none"),
        ("{model: azure/m, key: k}", "routes[0].base_url", "azure needs it"),
        ("{model: ai21/m, key: k}", "routes[0].base_url", "ai21 needs it"),
        ("{model: openai/m, key: k, account: 'a/../b'}", "routes[0].account", ""),
        ("{model: openai/m, key: k, api_version: '1&x=2'}", "routes[0].api_version", ""),
        ("{model: openai/m, key: k, price_as: luna}", "routes[0].price_as", ""),
        ("{model: openai/m, key: k, stall_timeout: 0}", "routes[0].stall_timeout", ""),
        ("{model: openai/m, key: k, wire: {key_header: Host}}", "routes[0].wire.key_header", "a header"),
        ("{model: openai/m, key: k, wire: {key_header: 'X: y'}}", "routes[0].wire.key_header", "a header"),
        ("{model: openai/m, key: k, wire: {max_tokens: 'a b'}}", "routes[0].wire.max_tokens", "name of a field"),
        ("{model: openai/m, key: k, wire: {turn: '{{ role }'}}", "routes[0].wire.turn", "not followed by"),
        ("{model: openai/m, key: k, wire: {sytem: user}}", "routes[0].wire.sytem", "did you mean system?"),
        ("{model: openai/m, key: k, wire: {names: {a: 'b c'}}}", "routes[0].wire.names", "name of a field"),
    ],
)
def test_mistakes_are_named(line: str, path: str, reason: str) -> None:
    assert reason in mistakes(line)[path]
