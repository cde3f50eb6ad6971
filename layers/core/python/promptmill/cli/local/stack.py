"""Start and stop the local stack: the emulator of AWS (ministack), the model, and the deployed template."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from promptmill.aws.cloudformation import CloudFormationStacks, publish_assets
from promptmill.aws.failures import aws_failures_in_words
from promptmill.aws.sessions import LOCAL_ACCOUNT, LOCAL_REGION, local_session
from promptmill.cli.local.model import start_model
from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.processes import (
    ProcessRecord,
    bare_environment,
    free_port,
    is_alive,
    start,
    stop,
    wait_until,
)
from promptmill.domain import layout
from promptmill.domain.errors import UserError

PREFERRED_PORT = 4566
_START_S = 60
_START_ATTEMPTS = 3
STACK = "promptmill-local"
_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
Say = Callable[[str], None]


class LocalState(Struct, frozen=True):
    """The content of ``state.json`` while a stack is up.

    Attributes:
        model_url: The base URL for clients of OpenAI's API.
        outputs: The outputs of the deployed stack, empty until it is deployed.
    """

    endpoint: str
    model_url: str
    is_stub: bool
    processes: tuple[ProcessRecord, ...]
    outputs: dict[str, str] = {}


def find_running(paths: LocalPaths) -> LocalState | None:
    """Return the state of the stack if all of it is running, else None."""
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
    """Start the stack, unless it is running. A ``tied`` stack ends with this process.

    Raises:
        UserError: Something is missing or does not start. Nothing is left running.
    """
    with hold_lock(paths, action="change"):
        if state := find_running(paths):
            say("The stack is already running.")
            return state
        _stop_all(paths)
        try:
            emulator, endpoint = _start_emulator(paths, tied=tied, preferred_port=preferred_port)
            _write(paths, LocalState(endpoint, "", is_stub=False, processes=(emulator,)))
            say(f"Emulator of AWS: {endpoint}")
            model = start_model(paths, tied=tied, threads=model_threads)
            state = LocalState(endpoint, model.url, model.is_stub, (emulator, model.process))
            return _finish_start(paths, state, recipes, say)
        except BaseException:
            _stop_all(paths)
            raise


def down(paths: LocalPaths) -> bool:
    """Stop all that runs, also after a crash, and remove its files. Return False if there was nothing."""
    with hold_lock(paths, action="change"):
        return _stop_all(paths)


def _finish_start(paths: LocalPaths, state: LocalState, recipes: Sequence[Path], say: Say) -> LocalState:
    _write(paths, state)
    say(f"Model: {'A STUB, not a model,' if state.is_stub else 'SmolLM2-135M'} at {state.model_url}")
    state = msgspec.structs.replace(state, outputs=_deploy(paths, state))
    push_recipes(state, recipes)
    _write(paths, state)
    say(f"Deployed the stack {STACK}")
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
    """Upload the recipes unchecked. A recipe of another stage is refused when a job uses it."""
    s3 = local_session().client("s3", endpoint_url=state.endpoint)
    for path in recipes:
        s3.put_object(Bucket=state.outputs["Bucket"], Key=layout.recipe_key(path.stem), Body=path.read_bytes())


def _stop_all(paths: LocalPaths) -> bool:
    state = _read(paths)
    for record in reversed(state.processes if state else ()):
        stop(record)
    shutil.rmtree(paths.temporary, ignore_errors=True)
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
def hold_lock(paths: LocalPaths, *, action: str) -> Iterator[None]:
    """Hold the lock for an action in this folder. Raises UserError if another process holds it."""
    import fcntl  # noqa: PLC0415 - not on Windows, where the other commands run

    paths.home.mkdir(parents=True, exist_ok=True)
    with (paths.home / f".{action}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another {action} is running in {paths.home}", code="busy", remedy="wait until it has ended"
            ) from error
        yield


def _start_emulator(
    paths: LocalPaths, *, tied: bool, preferred_port: int = PREFERRED_PORT
) -> tuple[ProcessRecord, str]:
    """Start the emulator, and return its process and endpoint once it answers.

    If the preferred port is in use, another one is chosen.

    Raises:
        UserError: The emulator is not installed, or does not start.
    """
    if not paths.emulator_python.exists():
        raise UserError("the emulator is not installed", code="emulator_missing", remedy="run make emulator")
    log = paths.logs / "emulator.log"
    for attempt in range(_START_ATTEMPTS):
        port = free_port(preferred_port if attempt == 0 else 0)
        record = _launch_emulator(paths, port, log, tied=tied)
        endpoint = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda url=endpoint: True if _answers(url) else None, record, log=log, seconds=_START_S)  # type: ignore[misc]
        except UserError:
            if attempt == _START_ATTEMPTS - 1:
                raise
        else:
            return record, endpoint
    raise AssertionError("unreachable")


def _launch_emulator(paths: LocalPaths, port: int, log: Path, *, tied: bool) -> ProcessRecord:
    empty_home = paths.home / "home"
    for folder in (empty_home, paths.temporary):
        folder.mkdir(parents=True, exist_ok=True)
    environment = bare_environment(empty_home, paths.temporary) | _emulator_settings(port)
    # The path tells the processes of this stack from those of another one.
    mark = str(paths.temporary)
    command = [str(paths.emulator_python), "-c", _LAUNCH, mark]
    return start("emulator", command, mark=mark, environment=environment, log=log, cwd=paths.home, tied=tied)


_LAUNCH = "import sys; sys.argv = ['ministack']; from ministack.app import main; main()"


def _emulator_settings(port: int) -> dict[str, str]:
    """Return the environment of the emulator. Lambda functions inherit it, so their boto3 finds only the emulator."""
    return {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _answers(endpoint: str) -> bool:
    """Return True if the emulator answers, without going through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/_ministack/health", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP OK
    except (urllib.error.URLError, OSError):
        return False
