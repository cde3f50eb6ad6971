"""The dashboard of the operator: one picture of what runs, what it costs, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.alarms import FIVE_MINUTES, QUIET_MINUTES, SPEND_PERCENT, deployment_metric
from infra.constructs.functions import metrics_namespace
from infra.constructs.permissions import FunctionName
from infra.constructs.queues import Queues
from infra.stages import StageValues

_FAILURES = {
    "plan_job": "PlansFailed",
    "run_chunk": "ChunksFailed",
    "run_requests": "RequestsErrored",
    "finish_job": "FinishesFailed",
    "settle_dead_letter": "DeadLettersFailed",
    "sweep": "SweepsFailed",
}
_WIDTH, _HEIGHT = 8, 6
_ENDS = ("Done", "Stopped", "Cancelled", "Rejected")


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Four rows: the work, the money, the queues, the functions. Three graphs in each."""

    values: StageValues
    queues: Queues
    functions: Mapping[FunctionName, lambda_.Function]

    def add_to(self, scope: Construct) -> None:
        board = cloudwatch.Dashboard(scope, "Dashboard", dashboard_name=self.values.stack_name)
        for row in (self._work(), self._money_and_errors(), self._messages(), self._machines()):
            board.add_widgets(*row)

    def _work(self) -> Iterable[cloudwatch.IWidget]:
        ends = [
            self._of(
                "plan_job" if end == "Rejected" else "finish_job", f"{'Drops' if end == 'Rejected' else 'Jobs'}{end}"
            )
            for end in _ENDS
        ]
        yield _graph("Jobs that ended", ends)
        yield _graph(
            "Records and requests",
            [
                self._of("run_chunk", "RecordsAnswered"),
                self._of("run_chunk", "RecordsFailed"),
                self._of("run_requests", "RequestsAnswered"),
            ],
        )
        yield _graph(
            "Open jobs, and minutes without progress",
            [self._of("sweep", "OpenRuns", statistic="Maximum"), self._counted("QuietMinutes", "Maximum")],
            lines={f"alarm: {QUIET_MINUTES} minutes": QUIET_MINUTES},
        )

    def _money_and_errors(self) -> Iterable[cloudwatch.IWidget]:
        cap = {f"cap: ${self.values.day_cap_usd}": float(self.values.day_cap_usd)} if self.values.day_cap_usd else {}
        near = (
            {f"alarm: {SPEND_PERCENT}% of the cap": float(self.values.day_cap_usd) * SPEND_PERCENT / 100} if cap else {}
        )
        yield _graph("Spent today, USD", [self._counted("SpentUsd", "Maximum")], lines=cap | near)
        yield _graph(
            "Costs unknown, circuits open",
            [self._counted("UnknownCosts", "Maximum"), self._counted("CircuitsOpen", "Maximum")],
        )
        yield _graph("Failures by class", [self._of(function, metric) for function, metric in _FAILURES.items()])

    def _messages(self) -> Iterable[cloudwatch.IWidget]:
        work = [*((queue.label, queue.work) for queue in self.queues.all), ("replies", self.queues.replies)]
        dead = [*((q.label, q.dead_letters) for q in self.queues.all), ("events", self.queues.undelivered)]
        yield _graph(
            "Messages waiting", [q.metric_approximate_number_of_messages_visible(label=name) for name, q in work]
        )
        yield _graph("Oldest message, s", [q.metric_approximate_age_of_oldest_message(label=name) for name, q in work])
        yield _graph(
            "Dead letters", [q.metric_number_of_messages_received(label=name, statistic="Sum") for name, q in dead]
        )

    def _machines(self) -> Iterable[cloudwatch.IWidget]:
        functions = self.functions.items()
        yield _graph(
            "Duration, ms (95 of 100)", [f.metric_duration(statistic="p95", label=name) for name, f in functions]
        )
        yield _graph("Errors", [f.metric_errors(label=name) for name, f in functions])
        throttled = [self._counted("AwsThrottles", "Sum"), self._counted("KmsThrottles", "Sum")]
        yield _graph("Throttles", [*(f.metric_throttles(label=name) for name, f in functions), *throttled])

    def _of(self, function: str, metric: str, *, statistic: str = "Sum") -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=metrics_namespace(self.values),
            metric_name=metric,
            dimensions_map={"service": function},
            statistic=statistic,
            period=FIVE_MINUTES,
            label=metric,
        )

    def _counted(self, metric: str, statistic: str) -> cloudwatch.IMetric:
        found = deployment_metric(self.values, metric, statistic=statistic, period=FIVE_MINUTES)
        return found.with_(label=metric)


def _graph(
    title: str, metrics: Iterable[cloudwatch.IMetric], *, lines: Mapping[str, float] | None = None
) -> cloudwatch.GraphWidget:
    marks = [cloudwatch.HorizontalAnnotation(value=value, label=label) for label, value in (lines or {}).items()]
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_annotations=marks,
        width=_WIDTH,
        height=_HEIGHT,
        period=Duration.minutes(5),
    )
