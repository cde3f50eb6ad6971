"""Pick the adapters, which happens here alone. Each is imported when it is first needed, so a cold start pays for no other."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from promptmill.settings import Settings, SourceQueue, from_environment

if TYPE_CHECKING:
    import boto3
    import botocore.session

    from promptmill.aws.dynamodb.jobs import DynamoDbJobs
    from promptmill.aws.dynamodb.ledger import DynamoDbLedger
    from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups
    from promptmill.aws.dynamodb.submissions import DynamoDbSubmissions
    from promptmill.aws.dynamodb.switches import DynamoDbSealKey, DynamoDbSwitches
    from promptmill.aws.dynamodb.units import DynamoDbUnits
    from promptmill.aws.eventbridge import EventBridgeBus
    from promptmill.aws.s3.object_store import S3ObjectStore
    from promptmill.aws.s3.recipe_source import S3RecipeSource
    from promptmill.aws.secrets import SecretsManagerStore
    from promptmill.aws.sqs import SqsMessageLease, SqsReplySender, SqsRequestQueue, SqsWorkQueue
    from promptmill.detectors.deployed import DeployedDetectors
    from promptmill.domain.limits import Limits
    from promptmill.engine.unit import UnitRuntime
    from promptmill.jobs.chunk_unit import ChunkWorker
    from promptmill.jobs.context import JobContext
    from promptmill.pacing.pacing import JobPacing
    from promptmill.pacing.shared_pacing import SharedPacing
    from promptmill.prices.genai import GenaiPriceBook
    from promptmill.providers.batches.registry import HttpBatchServices
    from promptmill.providers.registry import HttpModelProviders
    from promptmill.requests.answer_request import RequestWorker
    from promptmill.requests.envelope import IncomingRequest
    from promptmill.submissions.context import SubmissionContext
    from promptmill.system_clock import SystemClock


T = TypeVar("T")


def _lambda_session() -> boto3.Session:
    import boto3

    return boto3.Session()


class Services:
    """The adapters of one process, made when first asked for.

    Args:
        make_session: gives the credentials, region and endpoint of every AWS call.
        endpoint_url: of an emulator, None for AWS.
        counts: writes metrics to standard output, which is the log of a function and nothing else.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_session: Callable[[], boto3.Session] = _lambda_session,
        endpoint_url: str | None = None,
        counts: bool = False,
    ) -> None:
        self.settings, self._counts = settings, counts
        self._make_session, self._endpoint_url = make_session, endpoint_url
        self.rng = random.SystemRandom()
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the one event loop of this process, which keeps its HTTP connections from call to call."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def close(self) -> None:
        """Close what is open, in a process that ends."""
        if "providers" in self.__dict__:
            self.run(self.providers.close())
        if "detectors" in self.__dict__:
            self.run(self.detectors.close())
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def client(self, service: Any, region: str = "") -> Any:
        """Return a boto3 client of the deployment's region or of another. Throttling is retried underneath; calls to models never are."""
        from botocore.config import Config

        from promptmill.aws.failures import raise_refusals

        config = Config(
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=60 if service == "s3" else 10,  # a heartbeat must not hang as long as a lease
            max_pool_connections=32,
        )
        endpoint_url, region_name = self._endpoint_url, region or None
        client = raise_refusals(
            self.session.client(service, config=config, endpoint_url=endpoint_url, region_name=region_name)
        )
        if self._counts:
            from promptmill.aws.metrics import count_throttles

            count_throttles(client)
        return client

    def count(self, name: str, value: float = 1) -> None:
        """Count something in the one series of the whole deployment, which alarms look at."""
        if self._counts and value:
            from promptmill.aws.metrics import count

            count(name, value)

    @cached_property
    def session(self) -> boto3.Session:
        return self._make_session()

    @cached_property
    def clock(self) -> SystemClock:
        from promptmill.system_clock import SystemClock

        return SystemClock()

    @cached_property
    def objects(self) -> S3ObjectStore:
        from promptmill.aws.s3.object_store import S3ObjectStore

        return S3ObjectStore(self.client("s3"), self.settings.bucket)

    @cached_property
    def jobs(self) -> DynamoDbJobs:
        from promptmill.aws.dynamodb.jobs import DynamoDbJobs

        return DynamoDbJobs(self._dynamodb, self.settings.jobs_table, self.rng, self.clock)

    @cached_property
    def units(self) -> DynamoDbUnits:
        from promptmill.aws.dynamodb.units import DynamoDbUnits

        return DynamoDbUnits(self._dynamodb, self.settings.jobs_table, self.rng, self.clock)

    @cached_property
    def switches(self) -> DynamoDbSwitches:
        from promptmill.aws.dynamodb.switches import DynamoDbSwitches

        return DynamoDbSwitches(self._dynamodb, self.settings.jobs_table)

    @cached_property
    def ledger(self) -> DynamoDbLedger:
        from promptmill.aws.dynamodb.ledger import DynamoDbLedger

        return DynamoDbLedger(self._dynamodb, self.settings.charges_table, self.rng)

    @cached_property
    def _dynamodb(self) -> Any:
        return self.client("dynamodb")

    @cached_property
    def _sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def queue(self) -> SqsWorkQueue:
        from promptmill.aws.sqs import SqsWorkQueue

        settings = self.settings
        return SqsWorkQueue(
            self._sqs, uploads=settings.uploads_queue, chunks=settings.chunks_queue, finish=settings.finish_queue
        )

    def request_copies(self, recipe: str) -> SqsRequestQueue:
        """Return the queue that copies go back to: a recipe's own, or the common one."""
        from promptmill.aws.sqs import SqsRequestQueue

        return SqsRequestQueue(self._sqs, self.settings.requests_queue_for(recipe), self.seal_key.read)

    @cached_property
    def seal_key(self) -> DynamoDbSealKey:
        from promptmill.aws.dynamodb.switches import DynamoDbSealKey

        return DynamoDbSealKey(self._dynamodb, self.settings.jobs_table, self.rng)

    @cached_property
    def replies(self) -> SqsReplySender:
        from promptmill.aws.sqs import SqsReplySender

        return SqsReplySender(self._sqs)

    def lease(self, queue_url: str, receipt_handle: str) -> SqsMessageLease:
        """Return the lease of a received message."""
        from promptmill.aws.sqs import SqsMessageLease

        return SqsMessageLease(self._sqs, queue_url, receipt_handle)

    @cached_property
    def events(self) -> EventBridgeBus:
        from promptmill.aws.eventbridge import EventBridgeBus

        return EventBridgeBus(lambda: self.client("events"), self.settings.event_bus)

    @cached_property
    def recipes(self) -> S3RecipeSource:
        from promptmill.aws.s3.recipe_source import S3RecipeSource

        settings = self.settings
        return S3RecipeSource(
            self.objects,
            self.clock,
            stage=settings.stage,
            engines=settings.engine_names,
            secret_prefix=settings.secret_prefix,
        )

    @cached_property
    def prices(self) -> GenaiPriceBook:
        from promptmill.prices.genai import GenaiPriceBook

        return GenaiPriceBook()

    @cached_property
    def secrets(self) -> SecretsManagerStore:
        from promptmill.aws.secrets import SecretsManagerStore

        return SecretsManagerStore(lambda: self.client("secretsmanager"), clock=self.clock)

    @cached_property
    def providers(self) -> HttpModelProviders:
        from promptmill.providers.registry import HttpModelProviders

        return HttpModelProviders(
            settings=self.settings, secrets=self.secrets, clock=self.clock, make_aws_session=self._botocore_session
        )

    @cached_property
    def detectors(self) -> DeployedDetectors:
        from promptmill.detectors.deployed import AwsAccess, DeployedDetectors

        settings = self.settings
        aws = AwsAccess(
            region=settings.region, private_ranges=settings.private_ranges, make_session=self._botocore_session
        )
        is_local = settings.stage == "local"  # it calls no real account
        return DeployedDetectors(settings.engine_names, clock=self.clock, aws=None if is_local else aws)

    @cached_property
    def limit_groups(self) -> DynamoDbLimitGroups:
        from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups

        return DynamoDbLimitGroups(self._dynamodb, self.settings.jobs_table, self.rng, self.clock)

    def pacing(self, limits: Limits, *, worker: str, job: str, is_small: bool = False) -> SharedPacing:
        """Return the pacing of one invocation that works for ``job``. ``is_small``: see ``SharedPacing``."""
        from promptmill.pacing.shared_pacing import SharedPacing

        return SharedPacing(
            groups=self.limit_groups,
            limits=limits,
            clock=self.clock,
            rng=self.rng,
            worker=worker,
            job=job,
            in_flight=self.settings.in_flight,
            is_small=is_small,
        )

    @cached_property
    def day_cap(self) -> int | None:
        """Return the nano-dollars that the deployment may spend in a day (UTC), or None for no limit."""
        from promptmill.domain.money import parse_usd

        cap = self.settings.day_cap_usd
        return parse_usd(cap) if cap else None

    def runtime(self, *, owner: str, ends_at: float, pacing: JobPacing | None = None) -> UnitRuntime:
        """Return what the engine works with in one invocation, whose calls must be over at ``ends_at`` (``clock.monotonic()``)."""
        from promptmill.engine.call_slots import CallSlots
        from promptmill.engine.unit import PauseSwitch, UnitRuntime
        from promptmill.pacing.pacing import Unpaced

        return UnitRuntime(
            objects=self.objects,
            units=self.units,
            ledger=self.ledger,
            providers=self.providers,
            prices=self.prices,
            pacing=pacing or Unpaced(),
            slots=CallSlots(self.settings.in_flight),
            pause_switch=PauseSwitch(self.switches, self.clock),
            clock=self.clock,
            rng=self.rng,
            owner=owner,
            lease_s=self.settings.lease_s,
            ends_at=ends_at,
            day_cap=self.day_cap,
            detectors=self.detectors,
        )

    @cached_property
    def job_context(self) -> JobContext:
        """Bind the ports of the verbs on files. This is cheap: each adapter imports what it needs when it is used."""
        from promptmill.jobs.context import JobContext
        from promptmill.jobs.manifests import ManifestCache

        return JobContext(
            objects=self.objects,
            jobs=self.jobs,
            queue=self.queue,
            events=self.events,
            recipes=self.recipes,
            prices=self.prices,
            manifests=ManifestCache(self.objects),
            clock=self.clock,
            rng=self.rng,
            day_cap=self.day_cap,
            limits=self.settings.file_limits,
        )

    @cached_property
    def submissions(self) -> DynamoDbSubmissions:
        from promptmill.aws.dynamodb.submissions import DynamoDbSubmissions

        return DynamoDbSubmissions(self._dynamodb, self.settings.jobs_table, self.rng, self.clock)

    @cached_property
    def batch_services(self) -> HttpBatchServices:
        """Return the batch services. Those that read and write in buckets need a place of their own, and have none yet."""
        from promptmill.providers.batches.registry import HttpBatchServices

        return HttpBatchServices(self.providers.connections, secrets=self.secrets)

    def submission_context(self, runtime: UnitRuntime) -> SubmissionContext:
        """Return what submissions are stepped with."""
        from promptmill.submissions.context import SubmissionContext

        return SubmissionContext(self.job_context, runtime, self.submissions, self.batch_services, self.objects)

    def chunk_worker(self, runtime: UnitRuntime, lease: SqsMessageLease, *, redelivered: bool) -> ChunkWorker:
        """Return what a message of the chunks queue is worked on with."""
        from promptmill.jobs.chunk_unit import ChunkWorker

        return ChunkWorker(self.job_context, runtime, lease, redelivered=redelivered)

    async def read_request(self, record: Mapping[str, Any]) -> IncomingRequest:
        """Return the request of a record of Lambda's event, as SQS wrote it."""
        from promptmill.requests.envelope import SEAL, read_incoming

        texts = {name: str(each.get("stringValue", "")) for name, each in record.get("messageAttributes", {}).items()}
        return read_incoming(
            record["body"],
            record["messageId"],
            texts,
            sent_ms=record["attributes"]["SentTimestamp"],
            sender_id=record["attributes"].get("SenderId", ""),
            seal_key=await self.seal_key.read() if SEAL in texts else b"",
        )

    def request_worker(
        self, runtime: UnitRuntime, lease: SqsMessageLease, source: SourceQueue, *, settling: bool = False
    ) -> RequestWorker:
        """Return what a message of a requests queue is worked on with."""
        from promptmill.requests.answer_request import RequestWorker
        from promptmill.requests.envelope import QueueBorder

        settings = self.settings
        until = datetime.fromisoformat(settings.common_queue_until or "1970-01-01T00:00:00Z").timestamp()
        return RequestWorker(
            runtime=runtime,
            recipes=self.recipes,
            copies=self.request_copies(source.recipe),
            replies=self.replies,
            lease=lease,
            bucket=settings.bucket,
            own_replies=settings.replies_prefix,
            own_replies_url=f"{settings.requests_queue.rpartition('/')[0]}/{settings.replies_prefix}",
            shared_bodies_until=datetime.fromisoformat(settings.shared_bodies_until).timestamp(),
            border=QueueBorder(source.recipe, settings.recipes_with_queues, until),
            settling=settling,
        )

    def _botocore_session(self) -> botocore.session.Session:
        return self.session._session  # noqa: SLF001  boto3 has no public way to its botocore session


@cache
def services_of_process() -> Services:
    """Return the services of the function that runs here, from its environment."""
    from promptmill.aws.garbage import pass_over_what_is_imported

    pass_over_what_is_imported()
    return Services(from_environment(os.environ), counts=True)
