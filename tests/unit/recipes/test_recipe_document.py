"""Recipes: what a document becomes, and what each mistake is called."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.errors import RecipeError
from promptmill.domain.recipe import Recipe, RedactionPolicy, Route, UserPrice
from promptmill.recipes.recipe_document import check_recipe, parse_recipe
from promptmill.redaction import ALL_TYPES

SAMPLES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))
MINIMAL = "routes: [bedrock/amazon.nova-lite-v1:0]"


def parse(text: str | bytes, *, stage: str = "dev") -> Recipe:
    return parse_recipe("sample", text, stage=stage)


def mistakes(text: str | bytes, *, stage: str = "dev") -> dict[str, str]:
    """Path → reason."""
    recipe, problems = check_recipe("sample", text, stage=stage)
    assert recipe is None
    with pytest.raises(RecipeError) as caught:
        parse_recipe("sample", text, stage=stage)
    assert caught.value.code == "invalid_recipe"
    assert all(problem.path in caught.value.message for problem in problems)
    return {problem.path: problem.reason for problem in problems}


def with_route(line: str) -> str:
    return f"routes:\n  - {line}\n"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_a_recipe(sample: Path) -> None:
    recipe = parse_recipe(sample.stem, sample.read_bytes(), stage="local")
    assert recipe.name == sample.stem
    assert recipe.redact == RedactionPolicy(ALL_TYPES, restore=True)


def test_there_are_the_samples_that_the_documentation_names() -> None:
    assert {"default", "demo", "reviews", "openai-to-bedrock"} <= {path.stem for path in SAMPLES}


def test_the_demo_runs_in_the_local_stage_only() -> None:
    demo = next(path for path in SAMPLES if path.stem == "demo").read_bytes()
    assert mistakes(demo, stage="prod") == {"routes[0].model": "local/ models exist in the local stage only"}


def test_what_is_not_said_is_safe() -> None:
    recipe = parse(MINIMAL)
    assert recipe.routes == (
        Route(id="bedrock/amazon.nova-lite-v1:0", provider="bedrock", model="amazon.nova-lite-v1:0"),
    )
    assert recipe.redact == RedactionPolicy(types=ALL_TYPES, restore=True)
    assert (recipe.attachments, recipe.model, recipe.models, recipe.replies) == ("refuse", "route", {}, ())


def test_everything_that_can_be_said() -> None:
    recipe = parse("""
routes:
  - model: compatible/org/model-1
    key: promptmill/vllm
    base_url: https://llm.example/v1/
    in_flight: 7
    timeout: 12.5
    attempts: 3
    price: {input_usd_per_mtok: 0.1, output_usd_per_mtok: "0.30", cache_read_usd_per_mtok: 0, cache_write_usd_per_mtok: 1.0e-2}
    body: {top_k: 5, penalty: 0.5, deep: {list: [1, 2.5, true, null]}}
  - {model: bedrock/m, region: eu-west-1}
model: line
models: {small: org/model-1, "big": bedrock/m}
max_output_tokens: 20
temperature: 0
seed: -3
system: Be brief.
prompt: "{{ text }}!"
answer: {json_schema: {type: object, properties: {n: {type: number, minimum: 0.5}}}}
redact: {types: [phone, email], restore: false}
attachments: pass
invocation_type: native
replies: [promptmill-replies, "https://sqs.eu-west-1.amazonaws.com/000000000000/replies"]
""")
    assert recipe.routes[0] == Route(
        id="compatible/org/model-1",
        provider="compatible",
        model="org/model-1",
        key="promptmill/vllm",
        base_url="https://llm.example/v1",
        in_flight=7,
        timeout_s=12.5,
        attempts=3,
        price=UserPrice("0.1", "0.30", "0", "0.010"),
        body={"top_k": 5, "penalty": 0.5, "deep": {"list": [1, 2.5, True, None]}},
    )
    assert (recipe.routes[1].region, recipe.routes[1].endpoint) == ("eu-west-1", "invoke")
    assert recipe.models == {"small": "compatible/org/model-1", "big": "bedrock/m"}
    assert (recipe.max_output_tokens, recipe.temperature, recipe.seed) == (20, 0.0, -3)
    assert (recipe.system, recipe.prompt) == ("Be brief.", "{{ text }}!")
    assert recipe.answer_schema == {
        "type": "object",
        "properties": {"n": {"type": "number", "minimum": 0.5}},
        "additionalProperties": False,
        "required": ["n"],
    }, "closed, as strict structured output wants it"
    assert recipe.redact == RedactionPolicy(types=("email", "phone"), restore=False)
    assert (recipe.attachments, recipe.invocation_type) == ("pass", "native")
    assert recipe.replies == ("promptmill-replies", "https://sqs.eu-west-1.amazonaws.com/000000000000/replies")


@pytest.mark.parametrize(
    ("kind", "said", "dialect"),
    [("detect", "", ""), ("converse", "", "converse"), ("native", "", "invoke"), ("native", "converse", "converse")],
)
def test_how_bedrock_is_invoked(kind: str, said: str, dialect: str) -> None:
    own = f", dialect: {said}" if said else ""
    routes = f"[{{model: bedrock/m{own}}}, {{model: anthropic/m, key: promptmill/a}}]"
    recipe = parse(f"routes: {routes}\ninvocation_type: {kind}")
    assert [route.endpoint for route in recipe.routes] == [dialect, ""]


@given(st.integers(0, 999_999), st.integers(1, 18).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n)))
def test_a_price_is_taken_digit_by_digit(whole: int, digits: str) -> None:
    for written in (f"{whole}.{digits}", f'"{whole}.{digits}"'):
        price = parse(
            with_route(f"{{model: bedrock/m, price: {{input_usd_per_mtok: {written}, output_usd_per_mtok: 1}}}}")
        )
        assert price.routes[0].price == UserPrice(f"{whole}.{digits}", "1")


def test_the_version_is_that_of_the_meaning_not_of_the_text() -> None:
    version = parse(MINIMAL).version
    assert len(version) == 12
    assert set(version) <= set("0123456789abcdef")
    assert parse(f"# a comment\nattachments: refuse\n{MINIMAL}\n").version == version
    assert parse("routes: [{model: 'bedrock/amazon.nova-lite-v1:0', in_flight: 100}]").version == version
    assert parse(f"{MINIMAL}\nseed: 1").version != version


def test_a_recipe_survives_the_manifest() -> None:
    recipe = parse(f"{MINIMAL}\nseed: 1")
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


def test_without_a_map_a_line_may_ask_for_any_route() -> None:
    recipe = parse("routes: [bedrock/a, {model: openai/b, key: k}]\nmodel: line")
    assert recipe.models == {"a": "bedrock/a", "bedrock/a": "bedrock/a", "b": "openai/b", "openai/b": "openai/b"}


def test_a_list_of_models_is_an_allow_list() -> None:
    recipe = parse("routes: [bedrock/a, {model: openai/b, key: k}]\nmodel: line\nmodels: [b]")
    assert recipe.models == {"b": "openai/b"}


@pytest.mark.parametrize(
    ("text", "types"), [("all", ALL_TYPES), ("none", ()), ("[card]", ("card",)), ("[ip, ip]", ("ip",))]
)
def test_redaction_types(text: str, types: tuple[str, ...]) -> None:
    assert parse(f"{MINIMAL}\nredact: {{types: {text}}}").redact == RedactionPolicy(types, restore=True)


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("routes: []", "routes", "at least one"),
        ("seed: 1", "routes", "missing"),
        (f"{MINIMAL}\nmodle: line", "modle", "unknown key; did you mean model or models?"),
        (f"{MINIMAL}\nzzz: 1", "zzz", "known here: routes, model"),
        (with_route("{modle: bedrock/m}"), "routes[0].modle", "did you mean model?"),
        (with_route("{model: bedrock/m, price: {input: 1}}"), "routes[0].price.input", "unknown key"),
        (f"{MINIMAL}\nredact: {{type: all}}", "redact.type", "did you mean types?"),
        (f"{MINIMAL}\nanswer: {{schema: {{}}}}", "answer.schema", "unknown key"),
        (f"{MINIMAL}\ncompare: {{}}", "compare", "not built yet"),
        (f"{MINIMAL}\nbudget: {{per_job: 25}}", "budget.per_job", "did you mean per_job_usd"),
        (f"{MINIMAL}\nbudget: {{per_day_usd: lots}}", "budget.per_day_usd", "number"),
        (f"{MINIMAL}\nlane: flex", "lane", "live"),
        (f"{MINIMAL}\nlane: batch\ngive_up_after: 12h", "deadline", "give_up_after"),
        (f"{MINIMAL}\ndeadline: soon", "deadline", "36h or 3d"),
        (f"{MINIMAL}\ngive_up_after: 90", "give_up_after", "36h or 3d"),
        (
            with_route("{model: openai/m, key: k, dialect: embeddings, stream: true}"),
            "routes[0].stream",
            "not streamed",
        ),
        (with_route("{model: anthropic/m, key: k, dialect: chat}"), "routes[0].dialect", "spoken to in: messages"),
        (with_route("{model: openai/m, key: k, account: x}"), "routes[0].account", "takes none"),
        (f"{MINIMAL}\nbatch: auto", "batch", "not built yet"),
        (f"{MINIMAL}\ncompare: [a]", "compare", "not built yet"),
        (with_route("{model: bedrock/m, limit_group: x}"), "routes[0].limit_group", "not built yet"),
        (with_route("vertex/gemini"), "routes[0].key", "vertex needs it: the name of a secret in Secrets Manager"),
        (f"{MINIMAL}\nredact: {{types: [person]}}", "redact.types", "person takes a detector that finds names"),
        (f"{MINIMAL}\nredact: {{types: [emial]}}", "redact.types", "did you mean email?"),
        (f"{MINIMAL}\nredact: {{types: []}}", "redact.types", "all, none, or a list"),
        (with_route("opneai/m"), "routes[0].model", "did you mean openai or gooseai?"),
        (with_route("gpt-6"), "routes[0].model", "must be `provider/model`"),
        (with_route("bedrock/"), "routes[0].model", "must be `provider/model`"),
        (with_route('"bedrock/a b"'), "routes[0].model", "must be `provider/model`"),
        (with_route("openai/m"), "routes[0].key", "openai needs it"),
        (with_route("{model: bedrock/m, key: k}"), "routes[0].key", "bedrock takes none"),
        (with_route("compatible/m"), "routes[0].base_url", "compatible needs it"),
        (with_route("{model: anthropic/m, key: k, region: eu-west-1}"), "routes[0].region", "takes none"),
        (with_route("{model: bedrock/m, region: europe}"), "routes[0].region", "eu-central-1"),
        (with_route("{model: bedrock/m, in_flight: 0}"), "routes[0].in_flight", "greater than or equal to 1"),
        (with_route('{model: bedrock/m, in_flight: "8"}'), "routes[0].in_flight", "whole number"),
        (with_route("{model: bedrock/m, in_flight: 8.0}"), "routes[0].in_flight", "whole number"),
        (with_route("{model: bedrock/m, timeout: 5000}"), "routes[0].timeout", "less than or equal to 600"),
        (with_route("{model: bedrock/m, body: {stream: true}}"), "routes[0].body", "stream can't be set here"),
        ("routes: [bedrock/m, bedrock/m]", "routes[1].model", "earlier route"),
        (f"{MINIMAL}\nmodels: {{a: bedrock/b}}", "models", "only with `model: line`"),
        (f"{MINIMAL}\nmodel: line\nmodels: {{a: bedrock/amazon.nova-lite}}", "models.a", "did you mean bedrock/amazon"),
        (f"{MINIMAL}\ntemperature: warm", "temperature", "must be a number"),
        (f"{MINIMAL}\ntemperature: 2.1", "temperature", "less than or equal to 2"),
        (f"{MINIMAL}\nmax_output_tokens: -1", "max_output_tokens", "greater than or equal to 1"),
        (f"{MINIMAL}\nseed: true", "seed", "whole number"),
        (f"{MINIMAL}\nprompt: 5", "prompt", "in quotes"),
        (f'{MINIMAL}\nprompt: "{{{{ text }}"', "prompt", "not followed by a name"),
        (f"{MINIMAL}\nanswer: {{json_schema: {{type: string}}}}", "answer.json_schema", "`type: object`"),
        (f"{MINIMAL}\nanswer: {{json_schema: {{type: object}}}}", "answer.json_schema", "`properties`"),
        (
            f"{MINIMAL}\nanswer: {{json_schema: {{type: object, properties: {{a: {{}}}}, required: [b]}}}}",
            "answer.json_schema",
            "`required` lists names of `properties`",
        ),
        (
            f"{MINIMAL}\nanswer: {{json_schema: {{type: object, properties: {{a: text}}}}}}",
            "answer.json_schema",
            "`properties.a` is not a schema",
        ),
        (
            f"{MINIMAL}\nanswer: {{json_schema: {{type: object, properties: {{a: {{$ref: 'https://x.example'}}}}}}}}",
            "answer.json_schema",
            "inside of the schema",
        ),
        (f"{MINIMAL}\nattachments: send", "attachments", "'refuse' or 'pass'"),
        (f"{MINIMAL}\nreplies: ['http://x.example/q']", "replies[0]", "https://"),
        ("routes: bedrock/m", "routes", "must be a list"),
        (with_route("5"), "routes[0]", "must be a map"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, path: str, reason: str) -> None:
    found = mistakes(text)
    assert path in found, found
    assert reason in found[path]


@pytest.mark.parametrize(
    "price", ["-1", "1e9", '"1,5"', "cheap", "true", "[1]", '"NaN"', ".inf", '"1e3"', "0x10", "1_0"]
)
def test_a_price_that_is_none_is_refused(price: str) -> None:
    found = mistakes(
        with_route(f"{{model: bedrock/m, price: {{input_usd_per_mtok: {price}, output_usd_per_mtok: 1}}}}")
    )
    assert "routes[0].price.input_usd_per_mtok" in found


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = (
        "seed: x\nroutes:\n  - opneai/m\n  - {model: bedrock/m, key: k, timeout: 0}\n  - openai/m\nbudget: 3\nseed: 1\n"
    )
    recipe, problems = check_recipe("sample", text, stage="dev")
    assert recipe is None
    assert [(problem.path, problem.line) for problem in problems] == [
        ("routes[0].model", 3),
        ("routes[1].timeout", 4),
        ("routes[2].key", 5),
        ("budget", 6),
        ("seed", 7),
    ]


SECRETS = [
    "sk-proj-" + "Ab1" * 12,
    "sk-ant-api03-" + "Ab1" * 12,
    "gsk_" + "Ab1" * 12,
    "AKIA" + "IOSFODNN7EXAMPLE",
    "0123456789abcdef" * 2,
    "Zx9" * 9,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_key_in_the_place_of_its_name_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(with_route(f"{{model: openai/m, key: {secret}}}"))
    assert "routes[0].key" in caught.value.where
    assert secret not in str(caught.value)


@pytest.mark.parametrize("name", ["promptmill/openai", "prod/llm/Anthropic-2026-Team1", "k", "team_a+b=c.d@e"])
def test_names_of_secrets(name: str) -> None:
    assert parse(with_route(f"{{model: openai/m, key: '{name}'}}")).routes[0].key == name


@pytest.mark.parametrize(
    ("address", "stage", "reason"),
    [
        ("http://llm.example/v1", "dev", "https://"),
        ("http://llm.example/v1", "prod", "https://"),
        ("ftp://llm.example", "local", "http"),
        ("https://name:s3same@llm.example", "local", "no user name"),
        ("https://name@llm.example", "dev", "no user name"),
        ("https://@llm.example", "dev", "no user name"),
        ("https://llm.example?x=1", "dev", "no ? or #"),
        ("https:///v1", "dev", "must be an address"),
        ("llm.example/v1", "dev", "must be an address"),
        ("https://llm.example:99999", "dev", "must be an address"),
        ("https://[::1", "dev", "must be an address"),
        ("https://llm.example\\@other.example", "dev", "must be an address"),
        ("https://llm example", "dev", "must be an address"),
    ],
)
def test_addresses_that_are_refused(address: str, stage: str, reason: str) -> None:
    found = mistakes(with_route(f"{{model: compatible/m, base_url: '{address}'}}"), stage=stage)
    assert reason in found["routes[0].base_url"]
    assert "s3same" not in str(found)


def test_plain_http_is_for_the_local_stage() -> None:
    text = with_route("{model: compatible/m, base_url: 'http://127.0.0.1:8080/v1'}")
    assert parse(text, stage="local").routes[0].base_url == "http://127.0.0.1:8080/v1"


@pytest.mark.parametrize("name", ["", "Reviews", "a/b", "../x", "a b", "-a", "a" * 65, "a.yaml", "ä"])
def test_names_that_no_recipe_has(name: str) -> None:
    with pytest.raises(RecipeError, match="no name for a recipe"):
        parse_recipe(name, MINIMAL, stage="dev")


def test_only_the_providers_of_the_deployment_are_known() -> None:
    with pytest.raises(RecipeError, match="no provider is called bedrock"):
        parse_recipe("sample", MINIMAL, stage="dev", provider_names=frozenset({"openai"}))


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_a_recipe_or_a_recipe_error(text: str | bytes) -> None:
    with pytest.raises(RecipeError):
        parse(text)


KEYS = ["routes", "model", "models", "redact", "prompt", "answer", "seed", "types", "price", "body", "x"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("bedrock/m"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6))
def test_any_document_is_a_recipe_or_a_list_of_mistakes(document: dict[str, object]) -> None:
    recipe, problems = check_recipe("sample", msgspec.yaml.encode(document), stage="dev")
    assert (recipe is None) == bool(problems)


def test_an_address_for_bedrock_is_for_the_local_stage() -> None:
    text = "routes: [{model: bedrock/m, base_url: 'https://example.com'}]"
    assert parse_recipe("r", text, stage="local").routes[0].base_url
    with pytest.raises(RecipeError, match=r"bedrock is called at its own address"):
        parse_recipe("r", text, stage="dev")
