"""The deployment that a command talks to."""

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
from promptmill.cli.local.stack import find_running
from promptmill.domain.errors import UserError
from promptmill.ports.object_store import ObjectInfo
from promptmill.settings import Settings, Stage, deployment_name, stack_name
from promptmill.wiring import Services


class Target(Protocol):
    """A deployment as commands use it. Its name is ``local`` or, for example, ``123456789012/eu-central-1/dev``."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def services(self) -> Any:
        """The ports of the deployment: ``wiring.Services``, or a fake of it."""
        ...

    @property
    def outputs(self) -> dict[str, str]: ...

    def drop(self, path: Path, key: str, *, on_bytes: Callable[[int], None]) -> ObjectInfo:
        """Upload a file. If the key exists, this adds a version."""
        ...

    def close(self) -> None: ...


FindTarget = Callable[[Stage | None, str], Target]


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


def find_target(stage: Stage | None, name: str = "") -> Target:
    """Find the deployment of a stage or, if no stage is given, the local stack. A name tells several of a stage apart.

    Raises:
        UserError: There is no such deployment.
    """
    if stage is not None and stage != "local":
        return account_target(stage, name)
    if name:
        raise UserError(
            "a name belongs to a deployment in an account",
            code="name_unused",
            remedy="add --stage, or leave out --name",
        )
    return local_target(named=stage == "local")


def local_target(home: str | None = None, *, named: bool = True) -> AwsTarget:
    """Find the stack that runs on this machine. ``home`` is the folder of its state, if not the default."""
    state = find_running(local_paths(home or os.environ.get("PROMPTMILL_HOME")))
    if state is None:
        reason, remedy = "the local stack is not running", "run promptmill local up"
        if not named:
            reason = f"no stage was given, and {reason}"
            remedy = f"add --stage dev (or set PROMPTMILL_STAGE), or {remedy}"
        raise UserError(reason, code="no_target", remedy=remedy)
    return AwsTarget(
        "local",
        settings=settings_from(state.outputs | {"Region": LOCAL_REGION}, local_model_url=state.model_url),
        outputs=state.outputs,
        make_session=local_session,
        endpoint_url=state.endpoint,
    )


def account_target(stage: Stage, name: str = "") -> AwsTarget:
    """Find the stack of a stage and a name in the account and region of the usual AWS credentials."""
    session = account_session()
    account = session.client("sts").get_caller_identity()["Account"]
    region, stack = session.region_name, stack_name(stage, name)
    outputs = CloudFormationStacks(session.client("cloudformation")).outputs(stack)
    if outputs is None:
        raise UserError(
            f"there is no stack {stack} in {account}/{region}",
            code="stack_missing",
            remedy=f"run make deploy STAGE={stage}{f' CONTEXT=name={name}' if name else ''}, or choose another region (AWS_REGION) or account (AWS_PROFILE)",
        )
    return AwsTarget(
        f"{account}/{region}/{deployment_name(stage, name)}",
        settings=settings_from(outputs),
        outputs=outputs,
        make_session=lambda: session,
        endpoint_url=None,
    )


def settings_from(outputs: dict[str, str], *, local_model_url: str = "") -> Settings:
    """Read the settings from the outputs of a stack, which are named in CamelCase.

    Raises:
        UserError: An output is missing.
    """
    fields = [f.name for f in msgspec.structs.fields(Settings)]
    named = {field: outputs[_camel(field)] for field in fields if _camel(field) in outputs}
    missing = [_camel(f.name) for f in msgspec.structs.fields(Settings) if f.required and f.name not in named]
    if missing:
        raise UserError(
            f"the stack has no output {', '.join(missing)}",
            code="stack_outdated",
            remedy="deploy it again with the version of Promptmill that you are running",
        )
    return msgspec.convert(named | {"local_model_url": local_model_url}, Settings, strict=False)


def _camel(field: str) -> str:
    return "".join(word.title() for word in field.split("_"))
