"""Which deployment a command talks to, and how it is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import boto3
import msgspec

from promptmill.aws.cloudformation import CloudFormationStacks
from promptmill.aws.s3.upload import upload
from promptmill.aws.sessions import LOCAL_REGION, account_session, local_session
from promptmill.cli.local.paths import local_paths
from promptmill.cli.local.stack import running
from promptmill.domain.errors import UserError
from promptmill.ports.object_store import ObjectInfo
from promptmill.settings import Settings, Stage
from promptmill.wiring import Services


class Target(Protocol):
    """What commands need of a deployment. ``name``: ``local``, or ``123456789012/eu-central-1/dev``."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def services(self) -> Any:
        """``wiring.Services``, or what stands for it."""
        ...

    @property
    def outputs(self) -> dict[str, str]: ...

    def drop(self, path: Path, key: str, *, on_bytes: Callable[[int], None]) -> ObjectInfo:
        """Upload a file; a new version if the key is taken."""
        ...

    def close(self) -> None: ...


FindTarget = Callable[[Stage | None], Target]


class AwsTarget:
    """A deployed stack, in an account or in the emulator."""

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        outputs: dict[str, str],
        make_session: Callable[[], boto3.Session],
        endpoint_url: str | None,
    ) -> None:
        self.name, self.settings, self.outputs = name, settings, outputs
        self.services = Services(settings, make_session=make_session, endpoint_url=endpoint_url)

    def drop(self, path: Path, key: str, *, on_bytes: Callable[[int], None]) -> ObjectInfo:
        return upload(self.services.client("s3"), self.settings.bucket, key, path, on_bytes=on_bytes)

    def close(self) -> None:
        self.services.close()


def find_target(stage: Stage | None) -> Target:
    """The stage's deployment; without one, the local stack if it is up.

    Raises:
        UserError: there is none, with what to do about it.
    """
    return local_target(named=stage == "local") if stage in (None, "local") else account_target(stage)


def local_target(home: str | None = None, *, named: bool = True) -> AwsTarget:
    """The stack that runs on this machine. ``home``: where it keeps its state, if elsewhere."""
    state = running(local_paths(home or os.environ.get("PROMPTMILL_HOME")))
    if state is None:
        remedy = (
            "run promptmill local up"
            if named
            else "add --stage dev (or set PROMPTMILL_STAGE), or run promptmill local up"
        )
        reason = "the local stack is not up" if named else "no stage was named, and the local stack is not up"
        raise UserError(reason, code="no_target", remedy=remedy)
    return AwsTarget(
        "local",
        settings=settings_from(state.outputs | {"Region": LOCAL_REGION}, local_model_url=state.model_url),
        outputs=state.outputs,
        make_session=local_session,
        endpoint_url=state.endpoint,
    )


def account_target(stage: Stage) -> AwsTarget:
    """The stack ``promptmill-<stage>`` in the account and region of the normal credentials."""
    session = account_session()
    account = session.client("sts").get_caller_identity()["Account"]
    region, stack = session.region_name, f"promptmill-{stage}"
    outputs = CloudFormationStacks(session.client("cloudformation")).outputs(stack)
    if outputs is None:
        raise UserError(
            f"there is no stack {stack} in {account}/{region}",
            code="stack_missing",
            remedy=f"deploy it (make deploy STAGE={stage}), or choose another region (AWS_REGION) or account (AWS_PROFILE)",
        )
    return AwsTarget(
        f"{account}/{region}/{stage}",
        settings=settings_from(outputs),
        outputs=outputs,
        make_session=lambda: session,
        endpoint_url=None,
    )


def settings_from(outputs: dict[str, str], *, local_model_url: str = "") -> Settings:
    """From a stack's outputs: one for each setting, named in CamelCase.

    Raises:
        UserError: some are missing.
    """
    fields = [f.name for f in msgspec.structs.fields(Settings)]
    named = {field: outputs[_camel(field)] for field in fields if _camel(field) in outputs}
    missing = [_camel(f.name) for f in msgspec.structs.fields(Settings) if f.required and f.name not in named]
    if missing:
        raise UserError(
            f"the stack has no output {', '.join(missing)}",
            code="stack_outdated",
            remedy="deploy it again, with the version of Promptmill that this command is of",
        )
    return msgspec.convert(named | {"local_model_url": local_model_url}, Settings, strict=False)


def _camel(field: str) -> str:
    return "".join(word.title() for word in field.split("_"))
