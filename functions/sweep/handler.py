"""Start again what has gone quiet, on a schedule."""

from __future__ import annotations

from typing import Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.errors import fault_of
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Sweep, and return how much was found and sent."""
    from promptmill.jobs.sweep import sweep

    services = services_of_process()
    try:
        swept = services.run(sweep(services.job_context))
    except Exception as error:
        logger.error("not all swept", extra=fault_of(error))
        metrics.add_metric("SweepsFailed", MetricUnit.Count, 1)
        raise
    facts: dict[str, int] = msgspec.structs.asdict(swept)
    logger.info("swept", extra=facts)
    metrics.add_metric("OpenRuns", MetricUnit.Count, swept.open)
    return facts
