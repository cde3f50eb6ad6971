"""Every dead-letter queue → an end for what could not be run, in words that its owner sees."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.faults import fault_of
from promptmill.wiring import services_of_process

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
REQUESTS = "-requests-dead-letters"


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """An SQS event in, a partial batch response out."""
    return process_partial_response(event=event, record_handler=settle, processor=processor, context=context)


def settle(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Powertools passes the context to a record handler that has a ``lambda_context``."""
    is_request = record.event_source_arn.endswith(REQUESTS)
    try:
        verdict = settle_request(record, lambda_context) if is_request else settle_message(record)
    except Exception as error:
        logger.error("dead letter not settled", extra=fault_of(error))
        metrics.add_metric("DeadLettersFailed", MetricUnit.Count, 1)
        raise
    logger.warning("dead letter", extra={"verdict": verdict, "sqs_message_id": record.message_id})
    metrics.add_metric("DeadLettersSettled", MetricUnit.Count, 1)


def settle_message(record: SQSRecord) -> str:
    """One of our own messages: a plan, a chunk or a finish."""
    from promptmill.workflows.settle_dead_letter import settle_dead_letter

    services = services_of_process()
    return services.run(
        settle_dead_letter(
            record.body,
            objects=services.objects,
            jobs=services.jobs,
            ledger=services.ledger,
            queue=services.queue,
            events=services.events,
            manifests=services.manifests,
            clock=services.clock,
            lease_s=services.settings.lease_s,
        )
    )


def settle_request(record: SQSRecord, context: LambdaContext) -> str:
    """A request that brought its workers down is answered with that."""
    from promptmill.workflows.answer_request import IncomingRequest, answer_request
    from promptmill.workflows.calls.places import Places
    from promptmill.workflows.request_answer import RequestWorker

    services = services_of_process()
    settings = services.settings
    worker = RequestWorker(
        objects=services.objects,
        registry=services.registry,
        recipes=services.recipes,
        ledger=services.ledger,
        copies=services.request_copies,
        replies=services.replies,
        lease=services.lease(dead_letters_of(settings.requests_queue), record.receipt_handle),
        providers=services.providers,
        prices=services.prices,
        places=lambda: Places(settings.in_flight),
        clock=services.clock,
        rng=services.rng,
        owner=context.aws_request_id,
        lease_s=settings.lease_s,
        ends_at=services.clock.monotonic(),
        bucket=settings.bucket,
        own_replies=settings.replies_prefix,
        give_up=True,
    )
    attributes = record.raw_event.get("messageAttributes", {})
    copied_id = attributes.get("promptmill_id", {}).get("stringValue", "")
    incoming = IncomingRequest(record.body, record.message_id, copied_id)
    report = services.run(answer_request(incoming, worker=worker))
    return f"request {report.verdict}"


def dead_letters_of(queue_url: str) -> str:
    return f"{queue_url}-dead-letters"
