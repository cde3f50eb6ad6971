"""What a stage costs in a month in which nothing happens, from its template in tests/infra/snapshots."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.aws_prices import FREE_EACH_MONTH, MONTH_S, POLL_S, POLLERS, USD

SNAPSHOTS = Path(__file__).parents[1] / "infra" / "snapshots"
SWEEP_S = 1.0
"""Of an invocation that finds nothing: an estimate, cold starts included."""
LOG_BYTES = 1_500
SWEEPS_METRICS = 1
"""Custom metrics that are sent while nothing happens: OpenRuns."""
SECRETS = 1
"""Of one provider; they are made by hand."""
SWEEP_READS = 4
"""Units of its queries for runs that are open, twice, for the day's costs and for the day's budget; there are none."""


def idle_units(template: dict[str, Any]) -> Counter[str]:
    """By kind, for a month of 30.4 days."""
    resources = list(template["Resources"].values())
    kinds = Counter(resource["Type"] for resource in resources)
    sweeps = sum(MONTH_S / _period_s(resource) for resource in resources if _scheduled(resource))
    (sweeper,) = [each for each in resources if each["Type"] == "AWS::Lambda::Function" and _is_sweep(each)]
    units: Counter[str] = Counter()
    found: dict[str, float] = {
        "KMS key-month": kinds["AWS::KMS::Key"],
        "alarm-month": sum(_alarm_metrics(each) for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"),
        "dashboard-month": kinds["AWS::CloudWatch::Dashboard"],
        "SQS request": kinds["AWS::Lambda::EventSourceMapping"] * POLLERS * MONTH_S / POLL_S,
        "Lambda request": sweeps,
        "Lambda GB-second": sweeps * SWEEP_S * sweeper["Properties"]["MemorySize"] / 1024,
        "DynamoDB read unit": sweeps * SWEEP_READS,
        "trace": sweeps,
        "log GB": sweeps * LOG_BYTES / 1e9,
        "log GB-month": sweeps * LOG_BYTES / 1e9,
        "metric-month": SWEEPS_METRICS,
        "secret-month": SECRETS,
    }
    units.update(found)
    return units


def idle_bill(stage: str) -> None:
    units = idle_units(json.loads((SNAPSHOTS / f"{stage}.json").read_text()))
    print(f"\n| idle, a month, {stage} | how many | USD | where the free tiers are left |\n|---|---|---|---|")
    dollars = charged = 0.0
    for kind, count in units.items():
        usd = count * USD[kind]
        left = max(0.0, count - FREE_EACH_MONTH.get(kind, 0)) * USD[kind]
        dollars, charged = dollars + usd, charged + left
        print(f"| {kind} | {count:,.2f} | {usd:.2f} | {left:.2f} |")
    print(f"| **all** | | **{dollars:.2f}** | **{charged:.2f}** |")


def _scheduled(resource: dict[str, Any]) -> bool:
    return resource["Type"] == "AWS::Events::Rule" and "ScheduleExpression" in resource["Properties"]


def _period_s(rule: dict[str, Any]) -> int:
    """Of ``rate(2 minutes)``."""
    count, unit = rule["Properties"]["ScheduleExpression"].removeprefix("rate(").removesuffix(")").split()
    seconds: dict[str, int] = {"minute": 60, "hour": 3_600, "day": 86_400}
    return int(count) * seconds[unit.rstrip("s")]


def _is_sweep(function: dict[str, Any]) -> bool:
    return "sweep" in json.dumps(function["Properties"].get("FunctionName", ""))


def _alarm_metrics(alarm: dict[str, Any]) -> int:
    """An alarm is billed by the metrics that it looks at."""
    return max(1, sum("MetricStat" in each for each in alarm["Properties"].get("Metrics", [])))
