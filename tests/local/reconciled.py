"""A job's own books beside the provider's: every request is one call of the ledger, and the bill lies in its range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.charge import spending_of_charge, spending_of_correction
from promptmill.domain.job import JobRun, JobState
from tests.local.deployment import Deployment
from tests.local.prompts import jsonl
from tests.local.unruly_provider import KEY, Fate, Seen, UnrulyProvider

INPUT_NANO, OUTPUT_NANO = 1_000, 2_000
"""What a token costs."""
LIMITS = """
limits:
  - {models: compatible/unruly, requests_per_minute: 600000}
"""
"""Far above what is sent: what is refused at random must not be taken for a limit that was found."""
_SECRET = "promptmill/local/unruly"
_UNKNOWN: tuple[Fate, ...] = ("reset", "dripping")


class Books(Struct, frozen=True):
    """What both sides say of a job.

    Attributes:
        requests: at the provider, by what became of them.
        calls: in the ledger: answered, failed or unknown.
        never_came: calls of the ledger that no request at the provider corresponds to: a crash came between.
        bill: the provider's, in nano-dollars.
        low, high: the ledger's range, by its charges.
    """

    records: int
    requests: dict[str, int]
    calls: dict[str, int]
    never_came: int
    bill: int
    low: int
    high: int


def recipe(url: str, *, in_flight: int, timeout_s: int = 3, attempts: int = 8) -> str:
    """``attempts``: so many that the weather alone makes no record fail. A budget bounds what is unknown."""
    return f"""
routes:
  - model: compatible/unruly
    base_url: {url}
    key: {_SECRET}
    in_flight: {in_flight}
    timeout: {timeout_s}
    attempts: {attempts}
    price: {{input_usd_per_mtok: "1", output_usd_per_mtok: "2"}}
max_output_tokens: 50
budget: {{per_job_usd: 100}}
redact: {{types: none}}
"""


def drop_job(deployment: Deployment, name: str, document: str, records: int) -> str:
    """The id of a job of so many records under a recipe of its own."""
    secrets = deployment.services.client("secretsmanager")
    known = {secret["Name"] for secret in secrets.list_secrets()["SecretList"]}
    if _SECRET not in known:
        secrets.create_secret(Name=_SECRET, SecretString=KEY)
    deployment.push("_limits", LIMITS)
    deployment.push(name, document)
    lines = [{"id": n, "prompt": f"Record {n}: {'so it goes. ' * (n % 7)}"} for n in range(records)]
    return deployment.drop(f"inbox/{name}/x.jsonl", jsonl(lines))


def reconciled(deployment: Deployment, job: JobRun, provider: UnrulyProvider, records: int) -> Books:
    """Raises AssertionError where the two sides do not agree, or a record has no answer of its own in its own place."""
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, records, 0), job
    assert not provider.refused
    _check_results(deployment.lines(job, "results"), records)
    lines = deployment.lines(job, "attempts")
    never_came = _check_calls(lines, provider.seen)
    low, high = _check_ledger(deployment, job, lines)
    bill = sum(seen.input_tokens * INPUT_NANO + seen.output_tokens * OUTPUT_NANO for seen in provider.seen)
    assert low <= bill <= high, (low, bill, high)
    calls = Counter("unknown" if line["nano_usd"] is None else _kind(line) for line in lines)
    return Books(records, dict(provider.fates), dict(calls), never_came, bill, low, high)


def _check_results(lines: list[Any], records: int) -> None:
    """Line by line, each with the answer to its own prompt."""
    assert len(lines) == records
    for n, line in enumerate(lines):
        assert line["id"] == n
        assert f"Answer {n}." in msgspec.json.encode(line).decode()


def _check_calls(lines: list[Any], seen: list[Seen]) -> int:
    """Calls that are told of by their answers have exactly one request; the others have one at most."""
    assert len({line["call_id"] for line in lines}) == len(lines)
    by_id = {request.request_id: request for request in seen}
    told = [line for line in lines if line["provider_request_id"]]
    assert len({line["provider_request_id"] for line in told}) == len(told)
    for line in told:
        _check_told(line, by_id.pop(line["provider_request_id"]))
    asked = Counter(request.record for request in by_id.values())
    silent = Counter(line["record"] for line in lines if not line["provider_request_id"])
    assert asked <= silent, f"requests that the ledger does not know: {asked - silent}"
    assert all(line["nano_usd"] is None for line in lines if not line["provider_request_id"])
    return (silent - asked).total()


def _check_told(line: Any, request: Seen) -> None:
    assert line["record"] == request.record
    assert (line["code"] == "ok") == (request.fate == "answered")
    known = (line["input_tokens"], line["output_tokens"])
    if request.fate not in _UNKNOWN:
        assert line["nano_usd"] == request.input_tokens * INPUT_NANO + request.output_tokens * OUTPUT_NANO
        assert known == (request.input_tokens, request.output_tokens)


def _check_ledger(deployment: Deployment, job: JobRun, lines: list[Any]) -> tuple[int, int]:
    """Charges and attempts.jsonl say the same, but for what was learned later; the range by the charges."""
    charges, narrowings = deployment.services.run(_entries(deployment, job.job_id))
    assert sum(charge.attempts for charge in charges) == len(lines) == job.counts.attempts
    assert sum(charge.nano_usd for charge in charges) == sum(line["nano_usd"] or 0 for line in lines)
    spent = [*map(spending_of_charge, charges), *map(spending_of_correction, narrowings)]
    assert not any(spending.unbounded for spending in spent)
    return sum(spending.nano_usd for spending in spent), sum(spending.high_nano_usd for spending in spent)


async def _entries(deployment: Deployment, job_id: str) -> tuple[list[Any], list[Any]]:
    ledger = deployment.services.ledger
    return (
        [charge async for charge in ledger.charges_of(job_id)],
        [narrowing async for narrowing in ledger.narrowings_of(job_id)],
    )


def _kind(line: Any) -> str:
    return "answered" if line["code"] == "ok" else "failed"


def table(rows: Iterable[tuple[str, object]]) -> str:
    """For people."""
    return "\n".join(f"  {name:<22} {value}" for name, value in rows)
