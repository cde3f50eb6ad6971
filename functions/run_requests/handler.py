"""Answer the messages of a batch from the requests queue, or from a recipe's own, all at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain.errors import fault_of
from promptmill.wiring import services_of_process

if TYPE_CHECKING:
    from promptmill.requests.answer_request import RequestReport

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
JOINING_S = 30  # kept back for the answers, once the last call is over
SLACK_S = 60  # by which a message stays hidden beyond the end of the invocation


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response. All answers are in before Powertools asks for each."""
    records = [SQSRecord(record) for record in event["Records"]]
    reports = services_of_process().run(answer_all(records, context))
    by_id = dict(zip((record.message_id for record in records), reports, strict=True))

    def settle(record: SQSRecord) -> None:
        note(record.message_id, by_id[record.message_id])

    return process_partial_response(event=event, record_handler=settle, processor=processor, context=context)


async def answer_all(records: list[SQSRecord], context: LambdaContext) -> list[RequestReport | BaseException]:
    from promptmill.requests.answer_request import answer_request

    services = services_of_process()
    ends_at = services.clock.monotonic() + context.get_remaining_time_in_millis() / 1000 - JOINING_S
    runtime = services.runtime(owner=context.aws_request_id, ends_at=ends_at)

    async def answer(record: SQSRecord) -> RequestReport:
        """Answer one message, and hide it until the slowest of the batch is over: else it comes back."""
        source = services.settings.find_source(record.event_source_arn, "requests")
        lease = services.lease(source.url, record.receipt_handle)
        worker = services.request_worker(runtime, lease, source)
        report = await answer_request(await services.read_request(record.raw_event), worker=worker)
        await lease.renew(context.get_remaining_time_in_millis() // 1000 + SLACK_S)
        return report

    return await asyncio.gather(*map(answer, records), return_exceptions=True)


def note(message_id: str, report: RequestReport | BaseException) -> None:
    """Log what became of one request; raise what was raised, so that the message comes again."""
    if isinstance(report, BaseException):
        logger.error("request not answered", extra={"sqs_message_id": message_id} | fault_of(report))
        metrics.add_metric("RequestsErrored", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        raise report
    logger.info("request", extra={"sqs_message_id": message_id} | msgspec.structs.asdict(report))
    metrics.add_metric(f"Requests{report.verdict.title()}", MetricUnit.Count, 1)
    if report.is_refused:
        services_of_process().count("Refusals")
