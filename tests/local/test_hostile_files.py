"""Files that people and programs get wrong, through the deployed stack."""

from __future__ import annotations

import csv
import gzip
import io
import random
from typing import Any

import msgspec
import pytest

from promptmill.domain.job import JobState
from tests.local.deployment import Deployment
from tests.local.prompts import jsonl

pytestmark = pytest.mark.emulator
ROUTES = "routes: [{model: local/smollm2-135m, in_flight: 8, timeout: 300}]"
RECIPE = f"""
{ROUTES}
max_output_tokens: 4
temperature: 0
"""
BY_LINE = RECIPE + "model: line\nmodels: {offered: local/smollm2-135m}\n"
GOOD = b'{"id": "good", "prompt": "Say OK."}'


@pytest.fixture(scope="module", autouse=True)
def recipes(deployment: Deployment) -> None:
    deployment.push("hostile", RECIPE)
    deployment.push("hostile-by-line", BY_LINE)


def chat(custom_id: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": "Say OK."}]} | body}


def test_lines(deployment: Deployment) -> None:
    lines = [
        GOOD,
        b"",
        b'{"id": "bad \xff", "prompt": "x"}',
        b"null",
        b"   ",
        b'{"custom_id": "other", "body": {"messages": []}}',
        b'{"id": "long", "prompt": "' + b"word " * 400_000 + b'"}',
        b'{"id": "good", "prompt": "Say OK."}',
        b'{"id": "unknown", "prompt": "x", "propmt": "y"}',
        b"[1, 2]",
        b'{"id": "deep", "messages": ' + b"[" * 5000,
        GOOD,
        b'{"id": "cut", "prom',
    ]
    job = deployment.mill("inbox/hostile/lines.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines))
    outcomes = deployment.lines(job, "results")
    assert job.state is JobState.DONE
    assert [line["record"] for line in outcomes] == list(range(11))
    answered = [line["record"] for line in outcomes if line["status"] == "answered"]
    assert answered == [0, 5, 6, 9]
    assert outcomes[6]["propmt"] == "y", "what is no field of ours is a column of the row"
    codes = {line["record"]: line["error"]["code"] for line in outcomes if line["status"] == "failed"}
    assert codes[1] == "invalid_utf8"
    assert codes[2] == "not_an_object"
    assert codes[3] == "other_dialect"
    assert "context" in codes[4], "the model's own word for a prompt that is too long"
    assert codes[7] == "not_an_object"
    assert codes[8] == codes[10] == "invalid_json"
    for record, line in ((1, 3), (2, 4), (3, 6), (7, 10), (10, 13)):
        assert outcomes[record]["error"]["message"].startswith(f"line {line}"), outcomes[record]
    bad = [lines[n] for n in (2, 3, 5, 6, 9, 10, 12)]
    assert deployment.file(job, "errors").splitlines() == bad, "as they came"


def test_what_failed_can_be_dropped_again(deployment: Deployment) -> None:
    first = deployment.mill("inbox/hostile/first.jsonl", GOOD + b"\nnull\n")
    again = deployment.mill("inbox/hostile/again.jsonl", deployment.file(first, "errors") + GOOD)
    assert (again.counts.failed, again.counts.answered) == (1, 1)


def test_models_of_lines(deployment: Deployment) -> None:
    lines = [chat("a", model="offered"), chat("b"), chat("a", model="ofered"), chat("c", model="offered")]
    job = deployment.mill("inbox/hostile-by-line/models.jsonl", jsonl(lines))
    found = deployment.lines(job, "results")
    assert [line["custom_id"] for line in found] == ["a", "b", "a", "c"]
    assert [line["error"] and line["error"]["code"] for line in found] == [
        None,
        "model_missing",
        "model_not_allowed",
        None,
    ]
    assert "offered" in found[2]["error"]["message"]


def test_a_stray_quote_in_a_table(deployment: Deployment) -> None:
    table = 'id,prompt\r\n1,Say OK.\r\n2,"Say OK.\r\n3,Say OK.\r\n4,"two\r\nlines"\r\n\r\n5,=1+1\r\n'
    job = deployment.mill("inbox/hostile/table.csv", table.encode("cp1252"))
    data = deployment.file(job, "results").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [row["status"] for row in rows] == ["answered", "failed", "answered", "answered", "answered"]
    assert "line 3" in rows[1]["error"]
    assert rows[4]["prompt"] == "'=1+1"


def test_gzip(deployment: Deployment) -> None:
    lines = b"".join(b'{"id": %d, "prompt": "Say OK. %d"}\n' % (n, random.Random(n).getrandbits(64)) for n in range(40))
    whole = gzip.compress(lines)
    job = deployment.mill("inbox/hostile/early.jsonl.gz", whole[: len(whole) * 2 // 3])
    outcomes = deployment.lines(job, "results")
    assert job.state is JobState.DONE
    assert 5 < job.counts.answered < 40
    assert job.counts.failed <= 1
    assert [line["id"] for line in outcomes if line["status"] == "answered"] == list(range(job.counts.answered))
    summary = msgspec.json.decode(deployment.file(job, "summary"))
    assert "ends early" in summary["notes"][0]


@pytest.mark.parametrize(
    ("name", "body", "code_or_words"),
    [
        ("bomb.jsonl.gz", gzip.compress(GOOD + b"\n" + b" " * (300 << 20)), "unpack"),
        ("empty.jsonl", b"", "empty"),
        ("paper.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"),
        ("table.xlsx", b"PK\x03\x04\x14\x00\x06\x00\x08\x00xl/workbook.xml[Content_Types].xml", "CSV"),
        ("random.bin", random.Random(1).randbytes(4096), ""),
    ],
)
def test_what_is_no_job_file_is_rejected_with_a_remedy(
    deployment: Deployment, name: str, body: bytes, code_or_words: str
) -> None:
    job = deployment.mill(f"inbox/hostile/{name}", body)
    status = deployment.status(job)
    assert (job.state, status["state"]) == (JobState.REJECTED, "REJECTED")
    assert status["remedy"]
    assert code_or_words.lower() in (status["reason"] + status["remedy"]).lower()


@pytest.mark.parametrize(
    "name", ["a b+c%41.jsonl", "🦊 füchse.jsonl", "../up.jsonl", "in/folders/x.jsonl", "quote'\".jsonl"]
)
def test_names(deployment: Deployment, name: str) -> None:
    job = deployment.mill(f"inbox/hostile/{name}", GOOD)
    assert (job.state, job.counts.answered) == (JobState.DONE, 1)
    assert deployment.status(job)["file"] == f"inbox/hostile/{name}"
    assert ".." not in job.results_prefix


@pytest.mark.parametrize("name", ["folder/", "_SUCCESS", ".DS_Store"])
def test_markers_start_nothing(deployment: Deployment, name: str) -> None:
    job_id = deployment.drop(f"inbox/hostile/{name}", b"x" if not name.endswith("/") else b"")
    other = deployment.mill("inbox/hostile/after-the-marker.jsonl", GOOD)
    assert other.state is JobState.DONE
    assert deployment.read_status(job_id) is None


def test_an_unknown_recipe_names_no_other(deployment: Deployment) -> None:
    job = deployment.mill("inbox/hostil/x.jsonl", GOOD)
    assert job.state is JobState.REJECTED
    assert "hostile" not in deployment.status(job)["reason"]
