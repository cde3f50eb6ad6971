"""Check that commands, keys, codes, names and examples in the documents exist and work."""

from __future__ import annotations

import ast
import asyncio
import json
import random
import re
import shlex
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import boto3
import click
import jsonschema
import msgspec
import pytest
from moto import mock_aws
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from infra.stages import stage_values
from promptmill.aws.dynamodb.ledger import DynamoDbLedger
from promptmill.cli.local.downloads import DOWNLOADS
from promptmill.cli.main import cli
from promptmill.cli.watch import EXIT_NOT_DONE, EXIT_SOME_FAILED
from promptmill.domain.charge import Charge
from promptmill.domain.errors import RecordError
from promptmill.domain.job import JobState
from promptmill.domain.layout import BODIES
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import RawRecord
from promptmill.formats import csv_table, promptmill_lines
from promptmill.recipes import model
from promptmill.recipes.limits_document import parse_limits
from promptmill.recipes.recipe_document import check_recipe, parse_recipe
from promptmill.recipes.yaml_document import MAX_BYTES, read_yaml
from promptmill.redaction import ALL_TYPES
from promptmill.requests.envelope import RequestEnvelope, parse_envelope
from promptmill.wire.json_fields import Fields
from tests.fakes.mill import Mill
from tests.fakes.queues import FakeReplies
from tests.fakes.recipes import recipe

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "core" / "python" / "promptmill"
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
DOCS = {path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))}
RECIPES, STATES, FILES, REQUESTS = (DOCS[name] for name in ("recipes", "states", "files", "requests"))
COSTS, DEPLOY = DOCS["costs"], DOCS["deploy"]
DOCUMENTS = (README, CONTRIBUTING, *DOCS.values())
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "request.schema.json").read_text())
OUR_FOLDERS = ("functions", "layers", "infra", "events", "samples", "tests", "docs", "requirements", ".ci")
OUR_PARTS = tuple(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
GONE_PARTS = ("workflows", "adapters")
IN_THE_BUCKET = ("recipes/_limits.yaml",)
MINIMAL = "routes: [bedrock/amazon.nova-lite-v1:0]"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


def blocks(document: Path, language: str) -> list[str]:
    return [text for name, text in _FENCE.findall(document.read_text()) if name == language]


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text())


def codes(text: str) -> list[str]:
    """Return the texts in backticks, each on one line."""
    return [" ".join(code.split()) for code in _CODE.findall(text)]


def section(document: Path, heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables in a text, headings left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [at for at, row in enumerate(cells) if set("".join(row)) == {"-"}]
    return [row for at, row in enumerate(cells) if at not in rules and at + 1 not in rules]


def commands(document: Path) -> list[str]:
    """Every shell command: lines of bash blocks, continued ones joined, and what is in backticks."""
    lines = "\n".join(blocks(document, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in [*lines, *codes(prose(document))] if line.strip()]


def commands_of(program: str) -> list[Any]:
    return [
        pytest.param(command, id=f"{document.name}: {command[:60]}")
        for document in DOCUMENTS
        for command in commands(document)
        if re.match(rf"{program} \S", command)
    ]


# Commands.


@pytest.mark.parametrize("command", commands_of("promptmill"))
def test_the_command_is_one_that_the_cli_takes(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are parsed and not run. The files that they name without a folder are the reader's."""
    _, *words = shlex.split(command, comments=True)
    monkeypatch.chdir(tmp_path)
    for folder in ("recipes", "samples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for name in filter(re.compile(r"[\w-]+\.\w+").fullmatch, words):
        (tmp_path / name).touch()
    at: click.Command | None = cli
    parent: click.Context | None = None
    while isinstance(at, click.Group):
        parent = click.Context(at, info_name=at.name, parent=parent)
        _, at, words = at.resolve_command(parent, words)
    assert at is not None
    at.make_context(at.name, words, parent=parent)


@pytest.mark.parametrize("command", commands_of("make"))
def test_the_make_target_and_its_values_exist(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    _, *words = shlex.split(command, comments=True)
    given = dict(word.split("=", 1) for word in words if "=" in word)
    assert {word for word in words if "=" not in word} <= targets
    assert given.keys() <= set(re.findall(r"^([A-Z]+) \?=", makefile, re.MULTILINE))
    context = given.get("CONTEXT", "").replace("…", "")
    stage_values(given.get("STAGE", "dev"), dict(pair.split("=", 1) for pair in context.split()))


def test_values_of_stages_in_backticks_exist() -> None:
    contexts = [code for code in codes(prose(DEPLOY)) if code.startswith('CONTEXT="bucket=')]
    assert contexts == ['CONTEXT="bucket=NAME key=ARN"']
    named = [name for row in rows(section(DEPLOY, "Stages")) for name in codes(row[0])]
    assert "day_cap_usd" in named
    assert set(named) <= set(stage_values("prod").__struct_fields__)
    assert {"bucket", "key"} <= set(stage_values("prod").__struct_fields__)


@pytest.mark.parametrize(
    "command", [c for document in (README, DEPLOY) for c in commands(document) if c.startswith("npx ")]
)
def test_the_cdk_is_pinned_and_told_the_stage(command: str) -> None:
    """Also for bootstrap: it runs the app of cdk.json, which wants a stage."""
    words = shlex.split(command, comments=True)
    assert words[1] == "aws-cdk@2"
    assert words[3:5] == ["-c", "stage=dev"]


def test_exit_codes() -> None:
    said = re.search(r"`submit --wait` ends with 0 .*?, (\d) if some failed, and (\d) if", README.read_text())
    assert said
    assert (int(said[1]), int(said[2])) == (EXIT_SOME_FAILED, EXIT_NOT_DONE)


# Links, files, names.


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(document)):
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_folders_exist(document: Path) -> None:
    named = [code for code in codes(prose(document)) if re.fullmatch(r"[\w./-]+/[\w./-]*", code)]
    ours = [name for name in named if name.split("/")[0] in (*OUR_FOLDERS, *OUR_PARTS, *GONE_PARTS)]
    ours = [name for name in ours if name not in IN_THE_BUCKET]
    assert [name for name in ours if not any((base / name).exists() for base in (ROOT, PACKAGE))] == []


def test_outputs_of_the_stack_exist() -> None:
    outputs = {
        name
        for stage in ("dev", "custom")
        for name in json.loads((ROOT / "tests" / "infra" / "snapshots" / f"{stage}.json").read_text())["Outputs"]
    }
    named = {code for code in codes(section(DEPLOY, "Outputs")) if re.fullmatch(r"(?:[A-Z][a-z]+)+", code)}
    named |= set(codes(section(DEPLOY, "An existing bucket and key"))) & {"KeyPolicyToAdd", "NotificationToAdd"}
    text = " ".join(" ".join(document.read_text() for document in DOCUMENTS).split())
    named |= set(re.findall(r"the stack's output `?(\w+)", text))
    assert {"Bucket", "RequestsQueue", "RepliesQueue", "ChargesTable", "NotificationToAdd", "RepliesPrefix"} <= named
    assert named - outputs == set()


def test_files_of_a_job() -> None:
    named = {codes(row[0])[0] for row in rows(section(README, "Drop a file")) if codes(row[0])}
    assert named == {"status.json", "results.<ext>", "errors.<ext>", "attempts.jsonl", "summary.json", "report.html"}


def test_the_table_of_states_is_whole() -> None:
    assert [row[0].strip("`") for row in rows(section(STATES, "States"))] == [state.value for state in JobState]


def test_error_codes_exist() -> None:
    text = section(STATES, "Error codes")
    named = {code for code in codes(text) if re.fullmatch(r"[a-z]+(?:_[a-z]+)*", code)} - {"stopped"}
    assert {"file_gone"} <= set(codes(section(STATES, "States")))
    named |= {"file_gone"} | ({"id_reused", "expired"} & set(codes(prose(REQUESTS))))
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if "cli" not in path.parts)
    assert len(named) > 12
    assert {code for code in named if f'"{code}"' not in source} == set()


def test_columns_that_a_csv_gets() -> None:
    assert ", ".join(f"`{column}`" for column in csv_table._OURS) in section(FILES, "File formats")


def test_sizes_of_downloads() -> None:
    text = " ".join(section(README, "Two commands").split())
    total, *parts = (int(size) for size in re.findall(r"(\d+) MB", text))
    assert parts == [size for _, _, size in DOWNLOADS]
    assert total == sum(parts)


def test_the_picture_of_the_demo_shows_what_it_prints() -> None:
    """The headings of the demo, whose numbers and counts are computed."""
    headings = re.findall(r'font-weight:bold"[^>]*>(\d\. .*?)</text>', (ROOT / "docs" / "demo.svg").read_text())
    source = (PACKAGE / "cli" / "local" / "demo.py").read_text()
    assert len(headings) == 6
    assert [text for text in headings if text.partition("100")[0] not in source.replace("{len(snippets)}", "100")] == []


# Recipes.


@pytest.mark.parametrize("text", [text for document in DOCUMENTS for text in blocks(document, "yaml")])
def test_every_recipe_is_one(text: str) -> None:
    if text.startswith("limits:"):
        assert parse_limits(text).rules
    else:
        assert parse_recipe("sample", text, stage="dev").routes


KEYS: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "Recipes": (model.RecipeDocument, {"routes": ["bedrock/m"]}),
    "Routes": (model.RouteDocument, {"model": "bedrock/m"}),
    "Budget": (model.BudgetDocument, {}),
    "Answer": (model.AnswerDocument, {}),
    "Redaction": (model.RedactDocument, {}),
    "Wire": (model.WireDocument, {}),
    "Prices": (model.PriceDocument, {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}),
}
"""Headings, the models whose keys are in the tables below them, and the least that each model takes."""


def rows_of_keys(heading: str) -> list[list[str]]:
    text = section(RECIPES, heading)
    return rows(text.partition("\n\n| provider |")[0])


@pytest.mark.parametrize("heading", KEYS)
def test_every_key_is_documented_in_order(heading: str) -> None:
    model, _ = KEYS[heading]
    assert [row[0].strip("`") for row in rows_of_keys(heading)] == list(model.model_fields)


@pytest.mark.parametrize("heading", KEYS)
def test_defaults_are_those_of_the_models(heading: str) -> None:
    model, base = KEYS[heading]
    for key, _, default, _ in rows_of_keys(heading):
        field = model.model_fields[key.strip("`")]
        if default == "required":
            assert field.is_required(), key
        elif default == "–":
            assert field.get_default(call_default_factory=True) in (None, "", [], {}), key
        else:
            given = base | {key.strip("`"): read_yaml(default.strip("`")).data}
            assert model.model_validate(given) == model.model_validate(base), key


@pytest.mark.parametrize("heading", KEYS)
def test_limits_are_those_of_the_models(heading: str) -> None:
    model, _ = KEYS[heading]
    text = section(RECIPES, heading)
    by_key = {row[0].strip("`"): " ".join(row) for row in rows_of_keys(heading)}
    for name, field in model.model_fields.items():
        for limit in limits(field):
            assert re.search(rf"(?<![\d,.]){limit:,}(?![\d,.]*\d)", by_key[name]), (name, limit)
    assert heading != "Prices" or "0 to 1,000,000" in text


def limits(field: FieldInfo) -> Iterator[int]:
    for mark in field.metadata:
        for kind in ("ge", "le", "min_length", "max_length"):
            limit = getattr(mark, kind, None)
            if limit is not None and abs(limit) < 2**60:
                yield limit


def test_every_choice_is_documented() -> None:
    by_key = {row[0].strip("`"): codes(row[1]) for row in rows_of_keys("Recipes")}
    for key in ("model", "lane", "attachments", "invocation_type"):
        annotation = model.RecipeDocument.model_fields[key].annotation
        assert by_key[key] == list(annotation.__args__), key  # type: ignore[union-attr]  # a Literal's


def test_providers_and_what_they_take() -> None:
    text = section(RECIPES, "Routes").partition("| provider |")[2]
    found = {row[0].strip("`"): tuple(row[1:4]) for row in rows("| provider |" + text)}
    assert found == {name: (p.key, p.base_url, p.region) for name, p in PROVIDERS.items()}


def test_endpoints_of_providers() -> None:
    found = {
        name: tuple(codes(row[1])) for row in rows(section(RECIPES, "Endpoints of providers")) for name in codes(row[0])
    }
    assert found == {name: p.endpoints for name, p in PROVIDERS.items() if any(p.endpoints)}


def test_redaction_types_in_order_of_precedence() -> None:
    listed = next(row for row in rows_of_keys("Redaction") if row[0] == "`types`")[3]
    assert codes(listed) == list(ALL_TYPES)


def test_the_largest_document() -> None:
    assert f"{MAX_BYTES // 1024} KiB" in section(RECIPES, "What is an error")


@pytest.mark.parametrize(
    ("written", "said"), [(row[0].strip("`"), row[1]) for row in rows(section(RECIPES, "What is an error"))]
)
def test_mistakes_are_called_what_the_document_says(written: str, said: str) -> None:
    text = written if written.startswith("routes") else f"{MINIMAL}\n{written}"
    _, problems = check_recipe("sample", text, stage="dev")
    assert [problem.reason for problem in problems] == [said]


# Requests.


class _Recording(dict[str, Any]):
    """Values of a line, which note the fields that a file format looks for."""

    asked: ClassVar[set[str]] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def pop(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().pop(name, default)


def fields_of_our_own_lines() -> set[str]:
    line = Fields({}, where="line 1")
    line._values = _Recording({"prompt": "Hello"})
    promptmill_lines.FORMAT.read(line, RawRecord(0, 1, b""), recipe())
    return _Recording.asked


def test_the_schema_knows_every_field_of_a_request() -> None:
    expected = {*RequestEnvelope.__struct_fields__, *fields_of_our_own_lines()}
    assert "messages" in expected
    assert set(SCHEMA["properties"]) == expected


def test_every_field_of_a_request_is_documented() -> None:
    table = rows(section(REQUESTS, "Fields of a request"))
    assert sorted(code for row in table for code in codes(row[0])) == sorted(SCHEMA["properties"])


HELLO = {"recipe": "r", "prompt": "Hello"}
TURN = {"role": "user", "content": "Hello"}
GOOD = [
    HELLO,
    {"recipe": "r", "messages": [{"role": "system", "content": "Be brief."}]},
    {"recipe": "r", "messages": [{"role": "system", "content": "Be brief."}, TURN]},
    {
        "recipe": "r",
        "body_key": f"{BODIES}r/2026/a.json",
        "id": "1",
        "reply_to": "q",
        "expires_at": "2030-01-01T00:00:00Z",
    },
    HELLO | {"id": "x" * 512, "system": None, "stop": ["a"], "seed": 1, "top_p": 0.5, "top_k": 4, "temperature": 1},
    HELLO | {"stop": "a", "json_schema": {"type": "object"}, "max_output_tokens": 1, "model": "m", "expires_at": ""},
    HELLO | {"expires_at": "2030-01-01T00:00:00.5+02:00"},
]
BAD = [
    [],
    {"prompt": "Hello"},
    HELLO | {"recipe": "../r"},
    HELLO | {"recipe": "r" * 65},
    {"recipe": "r"},
    HELLO | {"messages": [TURN]},
    HELLO | {"body_key": f"{BODIES}r/a"},
    {"recipe": "r", "body_key": "inbox/a"},
    {"recipe": "r", "body_key": f"{BODIES}r/a", "system": "Be brief."},
    HELLO | {"id": 7},
    HELLO | {"id": "x" * 513},
    HELLO | {"expires_at": "2030-01-01T00:00:00"},
    HELLO | {"expires_at": "tomorrow"},
    HELLO | {"prompt": 7},
    HELLO | {"max_output_tokens": 0},
    HELLO | {"temperature": "hot"},
    HELLO | {"stop": [1]},
    HELLO | {"seed": 0.5},
    HELLO | {"json_schema": "object"},
    {"recipe": "r", "messages": []},
    {"recipe": "r", "messages": [{"role": "wizard", "content": "Hello"}]},
]


def is_accepted(message: object) -> bool:
    """Return True if the code accepts the envelope and, unless it is in another object, the body."""
    try:
        envelope, body = parse_envelope(msgspec.json.encode(message))
        if not envelope.body_key:
            line = Fields({"id": envelope.id} | body, where="line 1")
            promptmill_lines.FORMAT.read(line, RawRecord(0, 1, b""), recipe())
    except RecordError:
        return False
    return True


@pytest.mark.parametrize(("message", "good"), [*((m, True) for m in GOOD), *((m, False) for m in BAD)])
def test_schema_and_code_agree(message: object, *, good: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert is_accepted(message) is good
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(message) is good


def demo() -> Recipe:
    return parse_recipe("demo", (ROOT / "recipes" / "demo.yaml").read_bytes(), stage="local")


def test_the_sample_request_is_a_good_one() -> None:
    sample = json.loads((ROOT / "events" / "request.json").read_bytes())
    jsonschema.validate(sample, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert is_accepted(sample)
    assert sample["recipe"] == "demo"
    assert sample["reply_to"] in demo().replies


def test_the_readmes_message_is_a_good_one() -> None:
    (script,) = blocks(README, "python")
    dumped = next(
        node.args[0]
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.dumps"
    )
    message = ast.literal_eval(ast.unparse(dumped).replace("request_id", "'order-17'"))
    jsonschema.validate(message, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert is_accepted(message)


class _Sqs:
    """Two queues with Promptmill between them. Replies of others lie in the second one, too."""

    def __init__(self, mill: Mill, replies: FakeReplies) -> None:
        self._mill, self._replies = mill, replies
        self.deleted: list[str] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 (boto3's names)
        assert QueueUrl == "requests"
        asyncio.run(self._mill.ask(MessageBody))

    def receive_message(self, *, QueueUrl: str, WaitTimeSeconds: int) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == "replies"
        assert 0 <= WaitTimeSeconds <= 20
        bodies = [json.dumps({"id": "somebody else's"}), *(body for _, body in self._replies.sent)]
        return {"Messages": [{"Body": body, "ReceiptHandle": body} for body in bodies]}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        assert QueueUrl == "replies"
        self.deleted.append(ReceiptHandle)


@pytest.mark.parametrize(("name", "said"), [("demo", "answered Blue. 0.000000390"), ("another", "failed {'code': ")])
def test_the_readmes_script_gets_its_reply(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused request too, whose reply has fewer fields."""
    (script,) = blocks(README, "python")
    replies = FakeReplies()
    queue = "promptmill-test-replies"  # the recipe's, and the one of the stack, which tells of unknown recipes too
    sqs = _Sqs(Mill(recipe(name, replies=(queue,)), replies=replies), replies)
    monkeypatch.setattr(boto3, "client", {"sqs": sqs}.__getitem__)
    script = script.replace("promptmill-local-replies", queue)
    exec(compile(script, str(README), "exec"), {"REQUESTS_QUEUE_URL": "requests", "REPLIES_QUEUE_URL": "replies"})
    assert capsys.readouterr().out.startswith(said)
    assert sqs.deleted == [replies.sent[0][1]]


# Spending.

CHARGE = Charge(
    unit="20261122t120000z-0123456789.1.0",
    epoch=1,
    route="local/smollm2-135m",
    model="local/smollm2-135m",
    recipe="demo",
    job_id="20261122t120000z-0123456789",
    day="2026-11-22",
    nano_usd=390,
    attempts=1,
    failed_attempts=0,
    unpriced=0,
    input_tokens=10,
    cache_read_tokens=0,
    cache_write_tokens=0,
    output_tokens=2,
    bases=("user-set",),
)


def queries() -> list[dict[str, Any]]:
    """Return the documented queries as boto3 takes them."""
    found = []
    for command in commands(COSTS):
        words = shlex.split(command, comments=True)
        if words[:3] == ["aws", "dynamodb", "query"]:
            options = {a.removeprefix("--"): b for a, b in zip(words[3::2], words[4::2], strict=True)}
            found.append({_camel(name): _value(value) for name, value in options.items()})
    return found


def _camel(option: str) -> str:
    return "".join(word.title() for word in option.split("-"))


def _value(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text


def _charges_table(client: Any) -> None:
    template = json.loads((ROOT / "tests" / "infra" / "snapshots" / "dev.json").read_text())
    (table,) = (r["Properties"] for name, r in template["Resources"].items() if name.startswith("TablesCharges"))
    wanted = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    client.create_table(TableName="CHARGES_TABLE", **{name: table[name] for name in wanted})


def test_the_queries_of_spending_run_and_find_the_charge() -> None:
    found = queries()
    assert len(found) == 4
    with mock_aws():
        client = boto3.Session("test", "test", region_name="eu-central-1").client("dynamodb")
        _charges_table(client)
        assert asyncio.run(DynamoDbLedger(client, "CHARGES_TABLE", random.Random(1)).record(CHARGE))
        for query in found:
            items = client.query(**query)["Items"]
            assert [Decimal(item["cost_usd"]["N"]) for item in items] == [Decimal("0.000000390")], query


def test_price_bases_that_are_explained() -> None:
    text = section(COSTS, "What was spent").partition("`price_basis`")[2]
    made = {"bundled", "own-table", "user-set", "provider-reported", "estimated", "not-charged", "unknown"}
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "record.py")
    assert set(codes(text)) == made
    assert {basis for basis in made if f'"{basis}"' not in source} == set()
