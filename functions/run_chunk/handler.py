"""Answer the records of a chunk, or step a submission, on a message of the chunks queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from promptmill.domain import messages
from promptmill.domain.errors import fault_of
from promptmill.domain.limits import Limits
from promptmill.domain.messages import ChunkMessage, StepMessage
from promptmill.wiring import Services, services_of_process

if TYPE_CHECKING:
    from promptmill.jobs.run_chunk import ChunkReport
    from promptmill.ports.job_store import QueuedRun

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
MAX_LIMITS_S = 5  # a store that hangs costs no more than this of an invocation's time
STEPPING_S = 120  # kept back for the chunk that a step is working on
JOINING_S = 30  # kept back for the chunk's result, once the last call is over


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Take an SQS event and return a partial batch response."""
    return process_partial_response(event=event, record_handler=run, processor=processor, context=context)


def run(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Run one message. Powertools passes the context to a record handler that has a ``lambda_context``."""
    try:
        source = services_of_process().settings.find_source(record.event_source_arn, "chunks")
        message = messages.decode_work(record.body)
        logger.append_keys(job_id=message.job_id, run=message.run)
        if isinstance(message, StepMessage):
            run_step(message, record, source.url, lambda_context)
            return
        logger.append_keys(chunk=message.chunk)
        run_message(message, record, source.url, lambda_context)
    except Exception as error:
        logger.error("chunk not run", extra=fault_of(error))
        metrics.add_metric("ChunksFailed", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        raise


def run_message(message: ChunkMessage, record: SQSRecord, queue_url: str, context: LambdaContext) -> None:
    from promptmill.jobs.run_chunks import OtherJobs, run_chunks

    services, owner = services_of_process(), context.aws_request_id
    lease = services.lease(queue_url, record.receipt_handle)
    services.run(lease.renew(services.settings.lease_s))  # before all else: until then it is hidden for 16 minutes
    limits = read_limits(services)
    pacing = services.pacing(limits, worker=owner, job=name_run(message))
    ends_at = services.clock.monotonic() + context.get_remaining_time_in_millis() / 1000 - JOINING_S
    runtime = services.runtime(owner=owner, ends_at=ends_at, pacing=pacing)
    redelivered = int(record.attributes.approximate_receive_count) > 1
    worker = services.chunk_worker(runtime, lease, redelivered=redelivered)
    others = OtherJobs(
        # A member of its own: two jobs of one worker may share a limit.
        lambda run: services.pacing(
            limits, worker=f"{owner}.{name_run(run)}", job=name_run(run), is_small=run.is_small
        ),
        note_other_job,
    )
    for report in services.run(run_chunks(message, worker, others=others)):
        note(report)
    services.count("CircuitsOpen", pacing.open_circuits)


def run_step(message: StepMessage, record: SQSRecord, queue_url: str, context: LambdaContext) -> None:
    """Step a submission, or decide what of a run goes into batches. Whatever fails here is stepped again by the schedule."""
    from promptmill.submissions.plan import run_step_message

    services, owner = services_of_process(), context.aws_request_id
    lease = services.lease(queue_url, record.receipt_handle)
    ends_at = services.clock.monotonic() + context.get_remaining_time_in_millis() / 1000 - STEPPING_S
    stepping = services.submission_context(services.runtime(owner=owner, ends_at=ends_at))
    report = services.run(run_step_message(message, stepping, lease=lease, lease_s=services.settings.lease_s))
    facts: dict[str, Any] = msgspec.to_builtins(report) if report is not None else {}
    logger.info("step", extra={"submission": message.submission, **facts})
    metrics.add_metric("SubmissionsStepped", MetricUnit.Count, 1)


def name_run(of: ChunkMessage | QueuedRun) -> str:
    return f"{of.job_id}.{of.run}"


def read_limits(services: Services) -> Limits:
    """Return the operator's limits. A document that cannot be read stops no job: limits are then learnt from refusals."""
    try:
        return services.run(asyncio.wait_for(services.recipes.limits(), MAX_LIMITS_S))
    except Exception as error:  # noqa: BLE001  the document is optional, so no fault of reading it may cost a job
        logger.error("limits not read", extra=fault_of(error))
        metrics.add_metric("LimitsUnread", MetricUnit.Count, 1)
        services.count("Failures")
        return Limits()


def note_other_job(message: ChunkMessage, reports: Sequence[ChunkReport | BaseException]) -> None:
    """Log what became of the chunks of a job that was run beside that of the message."""
    job = {"job_id": message.job_id, "run": message.run, "chunk": message.chunk, "beside": True}
    metrics.add_metric("JobsBeside", MetricUnit.Count, 1)
    for report in reports:
        note(report, job)


def note(report: ChunkReport | BaseException, job: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Log what became of one chunk. One that was taken without a message, and failed, has one of its own."""
    if isinstance(report, BaseException):
        logger.error("chunk not run", extra={**fault_of(report), **job})
        metrics.add_metric("ChunksFailed", MetricUnit.Count, 1)
        services_of_process().count("Failures")
        return
    logger.info("chunk", extra={**msgspec.to_builtins(report), **job})
    metrics.add_metric(f"Chunks{report.verdict.title().replace('_', '')}", MetricUnit.Count, 1)
    if report.is_refused:
        services_of_process().count("Refusals")
    metrics.add_metric("RecordsAnswered", MetricUnit.Count, report.counts.answered)
    metrics.add_metric("RecordsFailed", MetricUnit.Count, report.counts.failed + report.counts.stopped)
