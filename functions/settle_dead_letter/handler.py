"""End what could not be run, in words that its owner sees, on a message of any dead-letter queue."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.errors import fault_of
from promptmill.settings import SourceQueue
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
MAX_RECEIVES = 40
"""How often a dead letter may fail before it ends in an alarm: a day and a half, by the pauses between."""
FIRST_PAUSE_S, MAX_PAUSE_S = 60, 3600


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response."""
    return process_partial_response(event=event, record_handler=settle, processor=processor, context=context)


def settle(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Settle one message. Powertools passes the context to a record handler that has a ``lambda_context``."""
    try:
        source = services_of_process().settings.find_dead_letters(record.event_source_arn)
    except Exception as error:
        note_failure(error)
        raise
    settle_from(source, record, lambda_context)


def settle_from(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> None:
    receives = int(record.attributes.approximate_receive_count)
    if receives >= 2 * MAX_RECEIVES:  # it may be what brings its function down, so it is not even looked at
        give_up(source, record, context)
        return
    try:
        verdict = settle_once(source, record, context)
    except Exception as error:
        note_failure(error)
        if receives < MAX_RECEIVES:
            pause(source, record, receives)
            raise
        give_up(source, record, context)
        return
    logger.warning("dead letter", extra={"verdict": verdict, "sqs_message_id": record.message_id})
    metrics.add_metric("DeadLettersSettled", MetricUnit.Count, 1)
    if "refused" in verdict:
        services_of_process().count("Refusals")


def note_failure(error: Exception) -> None:
    logger.error("dead letter not settled", extra=fault_of(error))
    metrics.add_metric("DeadLettersFailed", MetricUnit.Count, 1)
    services_of_process().count("Failures")


def settle_once(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> str:
    settle_one = settle_request if source.kind == "requests" else settle_message
    return settle_one(source, record, context)


def pause(source: SourceQueue, record: SQSRecord, receives: int) -> None:
    """Hide a message that failed for a while that doubles: an outage is a reason to wait."""
    services = services_of_process()
    lease = services.lease(source.url, record.receipt_handle)
    with suppress(Exception):
        services.run(lease.renew(min(FIRST_PAUSE_S * 2 ** (receives - 1), MAX_PAUSE_S)))


def give_up(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> None:
    """End a message that could not be settled: tell its owner if that can be done, and raise an alarm."""
    from promptmill.jobs.settle_dead_letter import give_up_dead_letter

    services = services_of_process()
    with suppress(Exception):
        if source.kind == "requests":
            give_up_on_request(source, record, context)
        else:
            services.run(give_up_dead_letter(record.body, services.job_context))
    logger.error("dead letter given up", extra={"sqs_message_id": record.message_id})
    metrics.add_metric("DeadLettersGivenUp", MetricUnit.Count, 1)
    services.count("GivenUp")


def settle_message(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> str:
    """Settle one of our own messages: a plan, a chunk or a finish."""
    from promptmill.jobs.settle_dead_letter import settle_dead_letter

    services = services_of_process()
    runtime = services.runtime(owner=context.aws_request_id, ends_at=services.clock.monotonic())
    lease = services.lease(source.url, record.receipt_handle)
    worker = services.chunk_worker(runtime, lease, redelivered=True)
    return services.run(settle_dead_letter(record.body, worker))


def settle_request(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> str:
    """Give a request a fresh start or, if it brought its workers down, an answer that says so."""
    from promptmill.requests.answer_request import answer_request

    worker = request_worker(source, record, context)
    report = services_of_process().run(answer_request(incoming(record), worker=worker))
    return f"request {report.verdict}"


def give_up_on_request(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> None:
    from promptmill.requests.answer_request import refuse_unanswered

    worker = request_worker(source, record, context)
    services_of_process().run(refuse_unanswered(incoming(record), worker=worker))


def incoming(record: SQSRecord) -> Any:
    """Return the request, without the owner that it may have seen: much has changed since."""
    services = services_of_process()
    return msgspec.structs.replace(services.run(services.read_request(record.raw_event)), owner_seen=None)


def request_worker(source: SourceQueue, record: SQSRecord, context: LambdaContext) -> Any:
    services = services_of_process()
    runtime = services.runtime(owner=context.aws_request_id, ends_at=services.clock.monotonic())
    return services.request_worker(runtime, services.lease(source.url, record.receipt_handle), source, settling=True)
