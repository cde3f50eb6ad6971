"""What a run leaves for people: summary, attempts, status, events. Each is judged by the lines of the results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from promptmill.domain.job import JobRun, JobState
from promptmill.domain.money import usd_text
from tests.simulation.calls import Made, calls_of, run_of

if TYPE_CHECKING:
    from tests.simulation.world import World


def files(world: World) -> Iterator[str]:
    """Check the files of every run that is over."""
    made: dict[tuple[str, int], list[Made]] = defaultdict(list)
    for call in calls_of(world):
        if not call.unit.startswith("request."):
            made[run_of(call.unit)[:2]].append(call)
    for place, run in world.jobs.runs.items():
        if run.state.resting:
            yield from (f"{run.job_id}.{run.run}: {broken}" for broken in _files_of(world, run, made[place]))


def _files_of(world: World, run: JobRun, made: list[Made]) -> Iterator[str]:
    lines = _lines(world, run, "results") if run.files else []
    yield from _status(world, run, Counter(line["status"] for line in lines))
    yield from _events(world, run)
    if run.files:
        attempts = _lines(world, run, "attempts")
        yield from _attempts(attempts, made)
        yield from _summary(world, run, lines, attempts)


def _lines(world: World, run: JobRun, name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in world.objects.body(run.files[name]).splitlines() if line]


def _status(world: World, run: JobRun, outcomes: Counter[str]) -> Iterator[str]:
    """The last status that was written says how the run ended."""
    key = f"{run.results_prefix}status.json"
    if not world.objects.keys(key):
        yield "has no status.json"
        return
    status = msgspec.json.decode(world.objects.body(key))
    said = {name: status[name] for name in ("state", "run", "job_id", "files")}
    if said != {"state": run.state.value, "run": run.run, "job_id": run.job_id, "files": run.files}:
        yield f"status.json says {said}, and the run is {run.state.value}"
    if run.files and {name: status["records"][name] for name in _OUTCOMES} != {n: outcomes[n] for n in _OUTCOMES}:
        yield f"status.json says {status['records']}, and the results {dict(outcomes)}"
    if run.files and status["records"]["waiting"]:
        yield f"status.json says that {status['records']['waiting']} records wait"
    if run.state is JobState.REJECTED and status["reason"] != run.reason:
        yield f"was rejected because {run.reason}, and status.json says {status['reason']}"


_OUTCOMES = ("answered", "failed", "stopped")


def _events(world: World, run: JobRun) -> Iterator[str]:
    """Whoever listens hears of the end, and of no other end."""
    mine = {
        kind
        for kind, detail in world.events.published
        if detail["job_id"] == run.job_id and detail.get("run", 1) in (run.run, 1 if "run" not in detail else run.run)
    }
    ends = {f"Job {state.value.lower()}" for state in (JobState.DONE, JobState.STOPPED, JobState.CANCELLED)}
    expected = f"Job {run.state.value.lower()}"
    if run.state.terminal and expected not in mine:
        yield f"is {run.state.value}, and no event says so: {sorted(mine)}"
    if run.state is JobState.DUPLICATE and expected not in mine:
        yield "waits as a duplicate, and no event says so"
    if run.state.terminal and (mine & ends) - {expected}:
        yield f"is {run.state.value}, and events say {sorted(mine)}"


def _attempts(lines: list[dict[str, Any]], made: list[Made]) -> Iterator[str]:
    """Each call that may have been made is one line, with what it cost or may have cost."""
    expected = {call.call_id: call for call in made if not call.unsent}
    names = [line["call_id"] for line in lines]
    if len(set(names)) != len(names):
        yield "attempts.jsonl has a call twice"
    if missing := sorted(expected.keys() - set(names)):
        yield f"attempts.jsonl lacks {missing[:3]}"
    if unknown := sorted(set(names) - expected.keys()):
        yield f"attempts.jsonl has {unknown[:3]}, which were never intended or never sent"
    for line in lines:
        call = expected.get(line["call_id"])
        if call is None:
            continue
        said = (line["record"], line["route"], line["nano_usd"])
        if said != (call.intent.record, call.intent.route, call.known):
            yield f"attempts.jsonl says {said} of {line['call_id']}, and the journal {call.known}"


def _summary(world: World, run: JobRun, lines: list[dict[str, Any]], attempts: list[dict[str, Any]]) -> Iterator[str]:
    summary = msgspec.json.decode(world.objects.body(run.files["summary"]))
    cost = sum(line["nano_usd"] or 0 for line in attempts)
    counts = Counter(line["status"] for line in lines)
    routes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in attempts:
        routes[line["route"]].append(line)
    expected = {
        "job_id": run.job_id,
        "run": run.run,
        "rerun": run.rerun if _base(world, run) else "",
        "state": run.state.value,
        "recipe": run.recipe,
        "records": len(lines),
        "answered": counts["answered"],
        "failed": counts["failed"],
        "stopped": counts["stopped"],
        "failures": dict(Counter(line["error"]["code"] for line in lines if line["status"] != "answered")),
        "attempts": len(attempts),
        "cost_usd": usd_text(cost),
        "unpriced_attempts": sum(line["nano_usd"] is None for line in attempts),
        "input_tokens": sum(line["input_tokens"] for line in attempts),
        "output_tokens": sum(line["output_tokens"] for line in attempts),
        "answers_kept": _kept(world, run, lines),
        "files": run.files,
        "routes": {
            route: {
                "attempts": len(found),
                "failed_attempts": sum(line["code"] != "ok" for line in found),
                "unpriced_attempts": sum(line["nano_usd"] is None for line in found),
                "cost_usd": usd_text(sum(line["nano_usd"] or 0 for line in found)),
            }
            for route, found in sorted(routes.items())
        },
    }
    for name, value in expected.items():
        if summary[name] != value:
            yield f"summary.json says {name} {summary[name]!r}, and its files {value!r}"


def _kept(world: World, run: JobRun, lines: list[dict[str, Any]]) -> int:
    """Return how many answers stood in the run before already."""
    base = _base(world, run)
    if base is None:
        return 0
    before = {line["record"] for line in _lines(world, base, "results") if line["status"] == "answered"}
    return sum(line["record"] in before for line in lines)


def _base(world: World, run: JobRun) -> JobRun | None:
    """Return the latest run before this one that left results."""
    earlier = (world.jobs.runs[run.job_id, number] for number in range(run.run - 1, 0, -1))
    return next((found for found in earlier if found.files), None)


def reruns(world: World) -> Iterator[str]:
    """Check that a further run keeps every answer as it was, and that a redrive leaves alone what never ran."""
    for run in world.jobs.runs.values():
        base = _base(world, run) if run.run > 1 and run.files else None
        if base is None:
            continue
        before = {line["record"]: line for line in _lines(world, base, "results")}
        for line in _lines(world, run, "results"):
            old = before[line["record"]]
            stays = old["status"] == "answered" or (run.rerun == "redrive" and old["status"] == "stopped")
            if stays and old != line:
                yield f"{run.job_id}.{run.run}: {run.rerun} changed record {line['record']}, which was {old['status']}"
