"""The six functions and what starts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.assets import Assets
from infra.constructs.acknowledge import acknowledge, acknowledge_wildcards
from infra.constructs.permissions import ACCESS, FUNCTIONS, WILDCARDS, FunctionName, Permissions, network_interfaces
from infra.constructs.queues import SETTLING_TIMEOUT, WORKER_TIMEOUT, Queues
from infra.stages import NER_MB, RETENTIONS, StageValues
from promptmill.settings import ALLOCATOR

RUNTIME = lambda_.Runtime.PYTHON_3_13
SWEEP_TIMEOUT = Duration.minutes(2)
_SETTLERS = 2
_JOINERS = 5
_RUNTIME_REASON = (
    "The layers are compiled for this runtime and tested on it; LAMBDA_PYTHON in infra/stages.py moves both."
)
_ONCE_FINDINGS = {
    "Serverless-LambdaAsyncFailureDestination": "The next sweep does what a lost one left, and an alarm says if none runs."
}
_FUNCTION_FINDINGS = {
    "AwsSolutions-L1": _RUNTIME_REASON,
    "Serverless-LambdaLatestVersion": _RUNTIME_REASON,
    "Serverless-LambdaDLQ": "Queues start it, and keep their dead letters; the sweep's schedule is its own retry.",
}
_SOURCE_FINDINGS = {
    "Serverless-LambdaEventSourceMappingDestination": "The queue has a queue of dead letters; SQS knows no destination."
}


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """The size of one function.

    Attributes:
        batch: messages an invocation. One file or one chunk is plenty; requests are small, and run side by side.
        workers: most invocations at once, by the source's MaximumConcurrency: reserved concurrency would
            take it away from everything else in the account.
        loops: sends messages that come back to it, by design; Lambda's loop detection would end them after 16 turns.
        once: is invoked by events, which Lambda would otherwise keep for hours and try three times.
    """

    memory_mb: int
    timeout: Duration
    batch: int = 1
    workers: int = 0
    loops: bool = True
    once: bool = False


def sizings(values: StageValues) -> Mapping[FunctionName, Sizing]:
    """Return the size of each function.

    plan_job and finish_job are streams bound by the CPU: one whole CPU costs the same per byte and takes least time.
    run_chunk and run_requests wait for models, with up to 500 calls in flight and 8 MiB of records; with the detector ner
    they work, too.
    settle_dead_letter writes a chunk's outcomes without calls. sweep queries an index and sends messages.
    """
    least_mb = NER_MB if values.ner else 0
    return {
        "plan_job": Sizing(memory_mb=values.plan_job_mb, timeout=WORKER_TIMEOUT, workers=_JOINERS),
        "run_chunk": Sizing(
            memory_mb=max(values.run_chunk_mb, least_mb), timeout=WORKER_TIMEOUT, workers=values.chunk_workers
        ),
        "run_requests": Sizing(
            memory_mb=max(values.run_requests_mb, least_mb),
            timeout=WORKER_TIMEOUT,
            batch=10,
            workers=values.request_workers,
        ),
        "finish_job": Sizing(memory_mb=values.finish_job_mb, timeout=WORKER_TIMEOUT, workers=_JOINERS),
        "settle_dead_letter": Sizing(
            memory_mb=values.settle_dead_letter_mb, timeout=SETTLING_TIMEOUT, workers=_SETTLERS
        ),
        "sweep": Sizing(memory_mb=values.sweep_mb, timeout=SWEEP_TIMEOUT, loops=False, once=True),
    }


class Functions(Construct):
    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        values: StageValues,
        assets: Assets,
        key: kms.IKey,
        queues: Queues,
        permissions: Permissions,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, name)
        self._values, self._assets, self._key = values, assets, key
        self._permissions, self._environment = permissions, environment
        self._architecture = lambda_.Architecture.ARM_64 if assets.arm else lambda_.Architecture.X86_64
        self._layers = [self._layer("Core", assets.core), self._layer("Dependencies", assets.dependencies)]
        self._tables = self._layer("Tables", assets.tables)
        self._ner = [self._layer("Ner", assets.ner)] if values.ner else []
        self._sizings = sizings(values)
        self.all = {function: self._function(function) for function in FUNCTIONS}
        self._connect(queues)
        self._schedule(queues)

    def _layer(self, name: str, path: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            f"{name}Layer",
            code=lambda_.Code.from_asset(path),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[self._architecture],
        )

    def _function(self, name: FunctionName) -> lambda_.Function:
        sizing, title, full_name = self._sizings[name], _title(name), self._full_name(name)
        log = self._log(title, full_name)
        function = lambda_.Function(
            self,
            title,
            function_name=full_name,
            code=lambda_.Code.from_asset(self._assets.function(name), exclude=["__pycache__", "*.pyc"]),
            handler="handler.handler",
            runtime=RUNTIME,
            architecture=self._architecture,
            layers=[
                *self._layers,
                *([self._tables] if name == "plan_job" else ()),
                *(self._ner if ACCESS[name].models else ()),
            ],
            memory_size=sizing.memory_mb,
            timeout=sizing.timeout,
            role=self._role(title, name, log),
            log_group=log,
            tracing=lambda_.Tracing.ACTIVE,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if sizing.loops else None,
            retry_attempts=0 if sizing.once else None,
            max_event_age=Duration.minutes(1) if sizing.once else None,
            environment={
                **self._environment,
                **ALLOCATOR,
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": metrics_namespace(self._values),
            },
        )
        acknowledge(function, _FUNCTION_FINDINGS | (_ONCE_FINDINGS if sizing.once else {}))
        if self._stands_in_vpc(name):
            self._place(function)
        return function

    def _stands_in_vpc(self, name: FunctionName) -> bool:
        return bool(self._values.subnets) and ACCESS[name].models

    def _place(self, function: lambda_.Function) -> None:
        """Place a function in a network. Ids are enough: the network is its owner's."""
        resource = function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101  what CDK documents; narrows the type
        resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=list(self._values.subnets), security_group_ids=list(self._values.security_groups)
        )

    def _full_name(self, name: FunctionName) -> str:
        return f"{self._values.stack_name}-{name.replace('_', '-')}"

    def _log(self, title: str, full_name: str) -> logs.LogGroup:
        """Make the log. One that outlives its stack is named after it, so that a stack made again finds its names free."""
        kept = self._values.protect_data
        return logs.LogGroup(
            self,
            f"{title}Log",
            log_group_name=f"/aws/lambda/{full_name}" + (f"/{_stack_instance(self)}" if kept else ""),
            retention=logs.RetentionDays[RETENTIONS[self._values.log_retention_days]],
            encryption_key=self._key,
            removal_policy=RemovalPolicy.RETAIN if kept else RemovalPolicy.DESTROY,
        )

    def _role(self, title: str, name: FunctionName, log: logs.LogGroup) -> iam.Role:
        role = iam.Role(self, f"{title}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        statements = [
            *self._permissions.of(name),
            *([network_interfaces()] if self._stands_in_vpc(name) else ()),
            iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn]),
        ]
        for statement in statements:
            role.add_to_policy(statement)
        acknowledge_wildcards(role, statements, WILDCARDS)
        acknowledge(
            role,
            {"AwsSolutions-IAM5[Resource::*]": "X-Ray's actions and EC2's for network interfaces know no resources."},
        )
        return role

    def _connect(self, queues: Queues) -> None:
        for function, access in ACCESS.items():
            for kind in access.consumes:
                for queue in queues.of_kind(kind):
                    self._source(function, queue.title, queue.work)
            for kind in access.settles:
                for queue in queues.of_kind(kind):
                    self._source(function, queue.title, queue.dead_letters)

    def _source(self, function: FunctionName, title: str, queue: sqs.Queue) -> None:
        sizing = self._sizings[function]
        source = lambda_.EventSourceMapping(
            self,
            f"{title}To{_title(function)}",
            target=self.all[function],
            event_source_arn=queue.queue_arn,
            batch_size=sizing.batch,
            max_concurrency=sizing.workers,
            report_batch_item_failures=True,
        )
        acknowledge(source, _SOURCE_FINDINGS)

    def _schedule(self, queues: Queues) -> None:
        """Start the sweep on a schedule, without retries: the next sweep is the retry."""
        sweep = targets.LambdaFunction(
            self.all["sweep"],
            retry_attempts=0,
            max_event_age=Duration.minutes(1),
            dead_letter_queue=queues.undelivered,
        )
        events.Rule(
            self,
            "Schedule",
            description=f"Sweeps {Stack.of(self).stack_name}",
            schedule=events.Schedule.rate(Duration.minutes(self._values.sweep_minutes)),
            targets=[sweep],
        )


def metrics_namespace(values: StageValues) -> str:
    """Return the namespace of the metrics of the functions: deployments in one account must not add up."""
    return f"Promptmill/{values.deployment}"


def _stack_instance(scope: Construct) -> str:
    """Return the first part of the id that CloudFormation gave to this stack, and gives to no other."""
    return Fn.select(0, Fn.split("-", Fn.select(2, Fn.split("/", Stack.of(scope).stack_id))))


def _title(name: str) -> str:
    return "".join(word.title() for word in name.split("_"))
