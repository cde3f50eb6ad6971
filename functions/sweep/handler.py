"""Start again what has gone quiet, on a schedule."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.errors import fault_of
from promptmill.wiring import Services, services_of_process

if TYPE_CHECKING:
    from promptmill.jobs.sweep import Swept

logger = Logger()
metrics = Metrics()
MEASURING_S = 10
STEPS_S = 20
SAYING_S = 10  # kept back to log where it stopped, and for a store that is slow to answer


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Sweep, and return how much was found and sent."""
    from promptmill.jobs.sweep import RunsFailedError, sweep

    services = services_of_process()
    ends_at = services.clock.monotonic() + context.get_remaining_time_in_millis() / 1000 - SAYING_S
    measure_deployment(services)  # first, as alarms need it most when a sweep runs out of time
    send_steps(services)
    try:
        swept = services.run(sweep(services.job_context, ends_at=ends_at))
    except Exception as error:
        if isinstance(error, RunsFailedError):
            note(error.swept)
            for fault in error.exceptions:
                logger.error("run not swept", extra=fault_of(fault))
        logger.error("not all swept", extra=fault_of(error))
        metrics.add_metric("SweepsFailed", MetricUnit.Count, 1)
        services.count("Failures")
        raise
    return note(swept)


def send_steps(services: Services) -> None:
    """Send a step to each submission that is due. A failure is not the runs' fault, and they are swept all the same."""
    from promptmill.submissions.plan import send_due_steps

    sending = send_due_steps(services.submissions, services.queue, now=services.clock.now())
    try:
        sent = services.run(asyncio.wait_for(sending, STEPS_S))
    except Exception as error:  # noqa: BLE001  see above; the next sweep sends what this one could not
        logger.error("steps not sent", extra=fault_of(error))
        services.count("Failures")
        return
    if sent:
        metrics.add_metric("StepsSent", MetricUnit.Count, sent)


def note(swept: Swept) -> dict[str, int]:
    """Log what a sweep came to, and count the runs for which it had no time."""
    facts: dict[str, int] = msgspec.structs.asdict(swept)
    logger.info("swept", extra=facts)
    metrics.add_metric("OpenRuns", MetricUnit.Count, swept.open)
    if swept.left:  # a metric that is not sent while all is well costs nothing
        metrics.add_metric("RunsLeftBySweep", MetricUnit.Count, swept.left)
    return facts


def measure_deployment(services: Services) -> None:
    """Count what alarms look at. What is zero is not sent, so that a deployment at rest pays for no metric of it."""
    from promptmill.jobs.gauges import measure

    try:
        measured = measure(
            jobs=services.jobs,
            budgets=services.units,
            spending=services.ledger,
            day_cap=services.day_cap,
            clock=services.clock,
        )
        gauges = services.run(asyncio.wait_for(measured, MEASURING_S))
    except Exception as error:  # noqa: BLE001  the sweep does its work, whatever can be measured
        logger.error("not measured", extra=fault_of(error))
        services.count("Failures")
        return
    services.count("QuietMinutes", gauges.quiet_minutes)
    services.count("SpentUsd", gauges.spent_usd)
    services.count("UnknownCosts", gauges.unknown_costs)
    services.count("DaySpendPercent", gauges.day_spend_percent)
