"""Join a run's chunk results into the files that people read, on a message of the finish queue."""

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
from promptmill.domain.messages import FinishMessage
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response."""
    return process_partial_response(event=event, record_handler=finish, processor=processor, context=context)


def finish(record: SQSRecord) -> None:
    try:
        source = services_of_process().settings.find_source(record.event_source_arn, "finish")
        message = messages.decode(record.body, FinishMessage)
        logger.append_keys(job_id=message.job_id, run=message.run, segment=message.segment)
        finish_run(message, source.url, record.receipt_handle)
    except Exception as error:
        logger.error("job not finished", extra=fault_of(error))
        metrics.add_metric("FinishesFailed", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        raise


def finish_run(message: FinishMessage, queue_url: str, receipt_handle: str) -> None:
    from promptmill.engine.heartbeat import run_with_lease
    from promptmill.jobs.finish_job import finish_job

    services = services_of_process()
    finished = services.run(
        run_with_lease(
            finish_job(message, services.job_context),
            services.lease(queue_url, receipt_handle),
            lease_s=services.settings.lease_s,
            clock=services.clock,
        )
    )
    logger.info("finish", extra=msgspec.to_builtins(finished))
    metrics.add_metric(f"Finishes{finished.verdict.title()}", MetricUnit.Count, 1)
    if finished.verdict == "finished":
        metrics.add_metric(f"Jobs{finished.state.title()}", MetricUnit.Count, 1)
    if finished.untold:
        services.count("Refusals")
