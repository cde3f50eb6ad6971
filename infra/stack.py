"""The stack. It only composes constructs, and the CLI reads its outputs."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.assets import Assets
from infra.constructs.encryption import Encryption
from infra.constructs.functions import Functions
from infra.constructs.managed_policies import ManagedPolicies, Places
from infra.constructs.monitoring import Monitoring
from infra.constructs.outputs import write_outputs
from infra.constructs.permissions import Permissions
from infra.constructs.queues import Queues
from infra.constructs.storage import Storage
from infra.constructs.tables import Tables
from infra.remember import metadata_of
from infra.stages import StageValues
from promptmill.settings import Settings, to_environment


class PromptmillStack(cdk.Stack):
    """``LocalModelUrl`` is a parameter of the local stage only: the embedded model's port is not known before it runs."""

    def __init__(self, scope: Construct, *, values: StageValues, assets: Assets) -> None:
        qualifier = values.bootstrap_qualifier or None
        super().__init__(
            scope,
            values.stack_name,
            description="Promptmill: batch inference in your own account",
            termination_protection=values.protect_data,
            synthesizer=cdk.DefaultStackSynthesizer(qualifier=qualifier),
        )
        self.template_options.metadata = metadata_of(values)
        for name, value in {"promptmill:stage": values.deployment, **values.tags}.items():
            cdk.Tags.of(self).add(name, value)
        if values.permissions_boundary:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(self, "Boundary", values.permissions_boundary)
            iam.PermissionsBoundary.of(self).apply(boundary)
        encryption = Encryption(self, "Encryption", values=values)
        key = encryption.key
        queues = Queues(self, "Queues", values=values, key=key)
        storage = Storage(self, "Storage", values=values, key=key, uploads=queues.work["uploads"])
        tables = Tables(self, "Tables", values=values, key=key)
        bus = events.EventBus(self, "Bus", event_bus_name=values.stack_name)
        settings = self._settings(values, storage, tables, queues, bus)
        permissions = Permissions(
            stack=self,
            values=values,
            key=key,
            bucket=storage.bucket,
            tables=tables,
            queues=queues,
            bus_arn=bus.event_bus_arn,
        )
        functions = Functions(
            self,
            "Functions",
            values=values,
            assets=assets,
            key=key,
            queues=queues,
            environment=to_environment(settings),
            permissions=permissions,
        )
        policies = ManagedPolicies(
            self,
            "ManagedPolicies",
            values=values,
            places=Places(key=key, bucket=storage.bucket, tables=tables, queues=queues, functions=permissions),
        )
        monitoring = Monitoring(
            self, "Monitoring", values=values, key=key, queues=queues, functions=functions.all, bus=bus
        )
        write_outputs(
            self,
            settings=settings,
            queues=queues,
            storage=storage,
            encryption=encryption,
            topic=monitoring.topic,
            policies=policies,
            values=values,
        )

    def _settings(
        self, values: StageValues, storage: Storage, tables: Tables, queues: Queues, bus: events.IEventBus
    ) -> Settings:
        return Settings(
            stage=values.stage,
            region=self.region,
            bucket=storage.bucket.bucket_name,
            jobs_table=tables.jobs.table_name,
            charges_table=tables.charges.table_name,
            uploads_queue=queues.work["uploads"].queue_url,
            chunks_queue=queues.work["chunks"].queue_url,
            finish_queue=queues.work["finish"].queue_url,
            requests_queue=queues.work["requests"].queue_url,
            replies_prefix=f"{values.stack_name}-replies",
            event_bus=bus.event_bus_name,
            local_model_url=self._local_model_url() if values.stage == "local" else "",
            lease_s=values.lease_s,
            private_ranges=",".join(values.private_ranges),
            day_cap_usd=values.day_cap_usd,
            engines=",".join(values.engines),
            shared_bodies_until=values.shared_bodies_until,
            secret_prefix=values.secrets_begin_with,
            recipe_queues=",".join(values.recipe_queues),
            common_queue_until=values.common_queue_until,
            max_records=values.max_records,
            max_unpacked_gb=values.max_unpacked_gb,
            max_expansion=values.max_expansion,
            planning_minutes=values.planning_minutes,
            planners_per_recipe=values.planners_per_recipe,
        )

    def _local_model_url(self) -> str:
        parameter = cdk.CfnParameter(
            self, "LocalModelUrl", type="String", default="", description="Base URL of the embedded model"
        )
        return parameter.value_as_string
