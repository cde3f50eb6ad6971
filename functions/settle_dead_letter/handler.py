"""End what could not be run, in words that its owner sees, on a message of any dead-letter queue."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.errors import fault_of
from promptmill.settings import Settings
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
REQUESTS = "-requests-dead-letters"


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response."""
    return process_partial_response(event=event, record_handler=settle, processor=processor, context=context)


def settle(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Settle one message. Powertools passes the context to a record handler that has a ``lambda_context``."""
    is_request = record.event_source_arn.endswith(REQUESTS)
    try:
        verdict = settle_request(record, lambda_context) if is_request else settle_message(record, lambda_context)
    except Exception as error:
        logger.error("dead letter not settled", extra=fault_of(error))
        metrics.add_metric("DeadLettersFailed", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        raise
    logger.warning("dead letter", extra={"verdict": verdict, "sqs_message_id": record.message_id})
    metrics.add_metric("DeadLettersSettled", MetricUnit.Count, 1)


def settle_message(record: SQSRecord, context: LambdaContext) -> str:
    """Settle one of our own messages: a plan, a chunk or a finish."""
    from promptmill.jobs.settle_dead_letter import settle_dead_letter

    services = services_of_process()
    runtime = services.runtime(owner=context.aws_request_id, ends_at=services.clock.monotonic())
    lease = services.lease(queue_of(record.event_source_arn, services.settings), record.receipt_handle)
    worker = services.chunk_worker(runtime, lease, redelivered=True)
    return services.run(settle_dead_letter(record.body, worker))


def settle_request(record: SQSRecord, context: LambdaContext) -> str:
    """Give a request a fresh start or, if it brought its workers down, an answer that says so."""
    from promptmill.requests.answer_request import answer_request
    from promptmill.requests.envelope import read_incoming

    services = services_of_process()
    runtime = services.runtime(owner=context.aws_request_id, ends_at=services.clock.monotonic())
    lease = services.lease(dead_letters_of(services.settings.requests_queue), record.receipt_handle)
    worker = services.request_worker(runtime, lease, settling=True)
    attributes = record.raw_event.get("messageAttributes", {})
    texts = {name: str(found.get("stringValue", "")) for name, found in attributes.items() if name != "promptmill_seen"}
    incoming = read_incoming(record.body, record.message_id, texts, sent_ms=record.attributes.sent_timestamp)
    report = services.run(answer_request(incoming, worker=worker))
    return f"request {report.verdict}"


def dead_letters_of(queue_url: str) -> str:
    return f"{queue_url}-dead-letters"


def queue_of(arn: str, settings: Settings) -> str:
    """Return the URL of the internal dead-letter queue that a message came from."""
    name = arn.rpartition(":")[2]
    urls = (settings.uploads_queue, settings.chunks_queue, settings.finish_queue)
    return next((dead_letters_of(url) for url in urls if dead_letters_of(url).endswith(f"/{name}")), urls[0])
