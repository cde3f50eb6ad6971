"""Turn a dropped file into chunks, or reject it in words, on a message of the uploads queue."""

from __future__ import annotations

from typing import Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain import messages
from promptmill.domain.errors import fault_of
from promptmill.domain.messages import PlanMessage, plans_of
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response."""
    return process_partial_response(event=event, record_handler=plan, processor=processor, context=context)


def plan(record: SQSRecord) -> None:
    """Plan every drop that a message tells of."""
    metrics.add_metric("UploadMessages", MetricUnit.Count, 1)
    try:
        source = services_of_process().settings.find_source(record.event_source_arn, "uploads")
        for message in drops_of(record.body):
            plan_drop(message, source.url, record.receipt_handle)
    except Exception as error:
        logger.error("not planned", extra=fault_of(error))
        metrics.add_metric("PlansFailed", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        raise


def drops_of(body: str) -> list[PlanMessage]:
    """Decode S3's notification, or a message of our own."""
    try:
        return [messages.decode(body, PlanMessage)]
    except msgspec.ValidationError:
        return plans_of(body, bucket=services_of_process().settings.bucket)


def plan_drop(message: PlanMessage, queue_url: str, receipt_handle: str) -> None:
    from promptmill.engine.heartbeat import run_with_lease
    from promptmill.jobs.plan_job import plan_job

    services = services_of_process()
    lease = services.lease(queue_url, receipt_handle)
    planned = services.run(
        run_with_lease(
            plan_job(message, services.job_context),
            lease,
            lease_s=services.settings.lease_s,
            clock=services.clock,
        )
    )
    logger.info("planned", extra=msgspec.structs.asdict(planned))
    metrics.add_metric(f"Drops{planned.verdict.title()}", MetricUnit.Count, 1)
    if planned.is_refused:
        services.count("Refusals")
