"""The local stack as a whole: up, down, and what it is like now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from promptmill.aws.cloudformation import CloudFormationStacks, publish_assets
from promptmill.aws.failures import aws_failures_in_words
from promptmill.aws.sessions import LOCAL_ACCOUNT, LOCAL_REGION, local_session
from promptmill.cli.local.emulator import PREFERRED_PORT, clean_up, start_emulator
from promptmill.cli.local.model import start_model
from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.processes import ProcessRecord, is_alive, stop
from promptmill.domain import layout
from promptmill.domain.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


STACK = "promptmill-local"
_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
Say = Callable[[str], None]


class LocalState(Struct, frozen=True):
    """What ``state.json`` holds while a stack is up.

    Attributes:
        model_url: base URL as OpenAI's clients want it.
        outputs: of the deployed stack; empty until it is deployed.
    """

    endpoint: str
    model_url: str
    is_stub: bool
    processes: tuple[ProcessRecord, ...]
    outputs: dict[str, str] = {}


def running(paths: LocalPaths) -> LocalState | None:
    """The stack that is up and whole, None if there is none."""
    state = _read(paths)
    if state is None or not state.outputs or not all(is_alive(record) for record in state.processes):
        return None
    return state


def up(
    paths: LocalPaths,
    *,
    recipes: Sequence[Path],
    tied: bool = False,
    preferred_port: int = PREFERRED_PORT,
    model_threads: int | None = None,
    say: Say = lambda _: None,
) -> LocalState:
    """Start it, unless it is up. ``tied``: it ends with this process.

    Raises:
        UserError: something is missing or does not start; nothing is left running.
    """
    with alone(paths, what="change"):
        if state := running(paths):
            say("It is up already.")
            return state
        _stop_all(paths)
        try:
            emulator, endpoint = start_emulator(paths, tied=tied, preferred_port=preferred_port)
            _write(paths, LocalState(endpoint, "", is_stub=False, processes=(emulator,)))
            say(f"Emulator of AWS at {endpoint}")
            model = start_model(paths, tied=tied, threads=model_threads)
            state = LocalState(endpoint, model.url, model.is_stub, (emulator, model.process))
            return _deployed(paths, state, recipes, say)
        except BaseException:
            _stop_all(paths)
            raise


def down(paths: LocalPaths) -> bool:
    """Stop whatever runs, after a crash too, and remove what it left. False if nothing was there."""
    with alone(paths, what="change"):
        return _stop_all(paths)


def _deployed(paths: LocalPaths, state: LocalState, recipes: Sequence[Path], say: Say) -> LocalState:
    _write(paths, state)
    say(f"{'STUB, not a model,' if state.is_stub else 'SmolLM2-135M'} at {state.model_url}")
    state = msgspec.structs.replace(state, outputs=_deploy(paths, state))
    push_recipes(state, recipes)
    _write(paths, state)
    say(f"Stack {STACK} deployed")
    return state


def _deploy(paths: LocalPaths, state: LocalState) -> dict[str, str]:
    session = local_session()
    with aws_failures_in_words():
        s3 = session.client("s3", endpoint_url=state.endpoint)
        template_url = publish_assets(paths.assembly, STACK, s3=s3, account=LOCAL_ACCOUNT, region=LOCAL_REGION)
        ssm = session.client("ssm", endpoint_url=state.endpoint)
        ssm.put_parameter(Name=_BOOTSTRAP_PARAMETER, Value="100", Type="String", Overwrite=True)
        stacks = CloudFormationStacks(session.client("cloudformation", endpoint_url=state.endpoint))
        return stacks.deploy(STACK, template_url, {"LocalModelUrl": state.model_url})


def push_recipes(state: LocalState, recipes: Sequence[Path]) -> None:
    """As they are: those of other stages are refused when a job names them, in words."""
    s3 = local_session().client("s3", endpoint_url=state.endpoint)
    for path in recipes:
        s3.put_object(Bucket=state.outputs["Bucket"], Key=layout.recipe_key(path.stem), Body=path.read_bytes())


def _stop_all(paths: LocalPaths) -> bool:
    state = _read(paths)
    for record in reversed(state.processes if state else ()):
        stop(record)
    clean_up(paths)
    paths.state.unlink(missing_ok=True)
    return state is not None


def _read(paths: LocalPaths) -> LocalState | None:
    with suppress(FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        return msgspec.json.decode(paths.state.read_bytes(), type=LocalState)
    return None


def _write(paths: LocalPaths, state: LocalState) -> None:
    partial = paths.state.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    partial.replace(paths.state)


@contextmanager
def alone(paths: LocalPaths, *, what: str) -> Iterator[None]:
    """Raises UserError: somebody else does the same in this folder."""
    import fcntl  # noqa: PLC0415 - not on Windows, where the other commands run

    paths.home.mkdir(parents=True, exist_ok=True)
    with (paths.home / f".{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another {what} is going on in {paths.home}", code="busy", remedy="wait for it to end"
            ) from error
        yield
