"""The report of a job that ran: its figures are those of the other files, and nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import msgspec
import pytest
from msgspec import structs

from promptmill.domain.completion import Usage
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.record import Attempt, Price, RecordResult
from promptmill.domain.tally import RouteTotal, Tally, tally_results
from promptmill.reports.job_report import ReportedRun, job_report
from promptmill.reports.run_figures import RunFigures, figures_of
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.reports.test_markup import ATTACKS, Reader


class Tables(Reader):
    """The rows of a page's tables, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.title = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if "h1" in self._open:
            self.title += data
        if self.rows and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == name)


def read(page: bytes) -> Tables:
    tables = Tables()
    tables.feed(page.decode())
    tables.close()
    return tables


async def milled(*, records: int = 600, key: str = "inbox/r/prompts.jsonl") -> tuple[Mill, JobRun]:
    answers: list[Any] = [RetryLaterError("slow_down", status=429)] * 7
    lines: list[object] = [{"id": f"p{n}", "prompt": f"Write to a{n}@b.example."} for n in range(records)]
    policy = RedactionPolicy(types=("email",))
    mill = Mill(recipe(redact=policy), models=FakeModels({ROUTE.id: answers}))
    return mill, await mill.mill(key, jsonl([*lines, {"id": "odd", "promt": "x"}]))


def manifest_of(mill: Mill, job: JobRun) -> Manifest:
    (key,) = (key for key in mill.objects.keys() if key.endswith("manifest.json") and job.job_id in key)  # noqa: SIM118
    return msgspec.json.decode(mill.objects.body(key), type=Manifest)


async def test_its_figures_are_those_of_the_summary() -> None:
    mill, job = await milled()
    page, summary = read(mill.file(job, "report")), msgspec.json.decode(mill.file(job, "summary"))
    assert page.title.startswith("600 of 601 records answered for $0.00")
    assert page.title.endswith("; 1 failed")
    route = summary["routes"][ROUTE.id]
    cells = next(row for row in page.rows if row and row[0] == ROUTE.id and len(row) == 8)
    assert [int(cell.replace(",", "")) for cell in cells[1:4]] == [
        route["attempts"],
        route["failed_attempts"],
        route["unpriced_attempts"],
    ]
    assert [int(cells[place].replace(",", "")) for place in (4, 6)] == [
        summary["input_tokens"],
        summary["output_tokens"],
    ]
    assert float(cells[7]) == pytest.approx(float(summary["cost_usd"]), abs=5e-7)
    assert {code: page.row(code)[1] for code in summary["failures"]} == {
        c: f"{n}" for c, n in summary["failures"].items()
    }
    assert {kind: page.row(kind)[1] for kind in summary["redacted"]} == {"email": "600"}
    assert "line 601 (odd)" in page.text


async def test_whoever_ends_the_run_writes_the_same() -> None:
    first, second = await milled(records=30), await milled(records=30)
    assert first[0].file(first[1], "report") == second[0].file(second[1], "report")


async def test_nothing_in_it_can_act_and_nothing_is_loaded() -> None:
    name = "a<script>alert(1)<b onload=x>\u202egnp.jsonl"
    mill, job = await milled(records=3, key=f"inbox/r/{name}")
    manifest = manifest_of(mill, job)
    attacked = structs.replace(
        manifest,
        recipe=structs.replace(manifest.recipe, name=ATTACKS[0], version=ATTACKS[1]),
        notes=ATTACKS,
    )
    names = dict.fromkeys(ATTACKS, 1)
    tally = Tally(answered_by=names, failures=names, redacted=names)
    failed = [
        RecordResult(n, b"", kind="provider", code=attack, at_line=n, id=attack) for n, attack in enumerate(ATTACKS)
    ]
    routes = {attack: RouteTotal(attempts=1) for attack in ATTACKS}
    run = ReportedRun(attacked, JobState.STOPPED, ATTACKS[2], tally, routes, 0, figures_of(failed, []), job.files)
    page = job_report(run)
    found = read(page)
    assert not {element for element, _ in found.elements} & {"script", "img", "iframe", "link", "object", "form", "b"}
    assert not any(name.startswith("on") or name == "style" for _, attributes in found.elements for name in attributes)
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in found.elements)
    assert "\u202e" not in page.decode()
    style = re.search(r"<style>(.*?)</style>", page.decode(), re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = [a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


async def test_it_stays_small_whatever_the_job() -> None:
    mill, job = await milled(records=1)
    manifest = structs.replace(manifest_of(mill, job), records=10**7, notes=("n" * 10_000,) * 50)
    names = {f"{n:03}-{'x' * 500}": 10**6 for n in range(100)}
    failed = [
        RecordResult(n, b"", kind="record", code=name, at_line=10**7, id="i" * 80) for name in names for n in range(5)
    ]
    made = [
        Attempt(
            "c",
            0,
            f"route-{n % 50}-{'r' * 100}",
            f"2026-11-{1 + n % 28:02}T{n % 24:02}:00:00.000Z",
            n**2,
            "ok",
            200,
            Usage(),
            Price(n, "bundled"),
        )
        for n in range(5_000)
    ]
    routes = {attempt.route: RouteTotal(attempts=10**9, nano_usd=10**15) for attempt in made}
    tally = Tally(answered_by=names, failures=names, redacted=names, unrestored=names)
    run = ReportedRun(manifest, JobState.DONE, "r" * 5_000, tally, routes, 0, figures_of(failed, made), job.files)
    assert len(job_report(run)) < 500_000


async def test_a_run_without_calls_has_a_report() -> None:
    mill = Mill(recipe())
    job = await mill.mill("inbox/r/prompts.jsonl", b'{"prompt": "x"\n{"prompt": 1}\n')
    page = read(mill.file(job, "report"))
    assert page.title == "0 of 2 records answered for $0.00; 2 failed"
    assert "Mend 2 records that are wrong" in page.text


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (RouteTotal(attempts=3, unpriced=1, nano_usd=5, high_nano_usd=2 * 10**9), "at least, and $2.0000 at most"),
        (
            RouteTotal(attempts=3, unpriced=1, nano_usd=5, high_nano_usd=5, unbounded=1),
            "and what 1 without a price cost",
        ),
    ],
)
async def test_a_cost_that_is_unknown_is_said(tally: RouteTotal, said: str) -> None:
    mill, job = await milled(records=1)
    lost = [Attempt("c", 0, "r", "", 0, "worker_lost", 0, Usage(source="none"), Price(None, "unknown"))]
    run = ReportedRun(
        manifest_of(mill, job),
        JobState.DONE,
        "",
        tally_results([RecordResult(0, b"")], lost),
        {"r": tally},
        0,
        RunFigures(),
        job.files,
    )
    assert said in read(job_report(run)).text
