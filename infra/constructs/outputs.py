"""The outputs of a stack."""

from __future__ import annotations

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_sns as sns

from infra.constructs.encryption import Encryption
from infra.constructs.managed_policies import ManagedPolicies, policy_outputs
from infra.constructs.queues import Queues
from infra.constructs.storage import Storage
from infra.stages import StageValues
from promptmill import __version__
from promptmill.settings import Settings

_OWN = (
    "local_model_url",
    "in_flight",
    "lease_s",
    "private_ranges",
    "day_cap_usd",
    "shared_bodies_until",
    "common_queue_until",
)
"""Settings of the functions alone, which no command needs."""


def write_outputs(
    stack: Stack,
    *,
    settings: Settings,
    queues: Queues,
    storage: Storage,
    encryption: Encryption,
    topic: sns.Topic,
    policies: ManagedPolicies,
    values: StageValues,
) -> None:
    """Write one output for each setting, by its name in CamelCase, then those that people need.

    Outputs named ``…ToAdd`` are what the owner of an existing bucket or key has to add to it.
    """
    known = {
        field: str(getattr(settings, field))
        for field in settings.__struct_fields__
        if field not in _OWN and getattr(settings, field)
    }
    outputs = {_camel(field): value for field, value in known.items()} | {
        "Version": __version__,
        "RepliesQueue": queues.replies.queue_url,
        "UploadsQueueArn": queues.work["uploads"].queue_arn,
        "AlertsTopic": topic.topic_arn,
        "Key": encryption.key.key_arn,
    }
    outputs |= {f"{queue.title}DeadLetters": queue.dead_letters.queue_url for queue in queues.all}
    outputs |= {f"{queue.title}Queue": queue.work.queue_url for queue in queues.all if queue.recipe}
    outputs |= policy_outputs(policies)
    if values.bucket:
        outputs["NotificationToAdd"] = stack.to_json_string(storage.notification_to_add)
        outputs["LifecycleToAdd"] = stack.to_json_string(storage.lifecycle_to_add)
    if values.key:
        outputs["KeyPolicyToAdd"] = stack.to_json_string(encryption.policy_to_add)
    for name, value in outputs.items():
        CfnOutput(stack, name, value=value)


def _camel(field: str) -> str:
    return "".join(word.title() for word in field.split("_"))
