"""The emulator of AWS: ministack, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.processes import ProcessRecord, bare_environment, free_port, start, wait_until
from promptmill.domain.errors import UserError

PREFERRED_PORT = 4566
_START_S = 60
_TRIES = 3


def start_emulator(paths: LocalPaths, *, tied: bool, preferred_port: int = PREFERRED_PORT) -> tuple[ProcessRecord, str]:
    """The process and its endpoint, once it answers. Another port is taken where the preferred one is.

    Raises:
        UserError: it is not installed, or does not start.
    """
    if not paths.emulator_python.exists():
        raise UserError("the emulator is not installed", code="emulator_missing", remedy="run make emulator")
    log = paths.logs / "emulator.log"
    for attempt in range(_TRIES):
        port = free_port(preferred_port if attempt == 0 else 0)
        record = _start(paths, port, log, tied=tied)
        endpoint = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda url=endpoint: True if _answers(url) else None, record, log=log, seconds=_START_S)  # type: ignore[misc]
        except UserError:
            if attempt == _TRIES - 1:
                raise
        else:
            return record, endpoint
    raise AssertionError("unreachable")


def _start(paths: LocalPaths, port: int, log: Path, *, tied: bool) -> ProcessRecord:
    empty_home = paths.home / "home"
    for folder in (empty_home, paths.temporary):
        folder.mkdir(parents=True, exist_ok=True)
    environment = bare_environment(empty_home, paths.temporary) | _settings(port)
    # The path names this stack, so that its processes are known from another one's.
    mark = str(paths.temporary)
    command = [str(paths.emulator_python), "-c", _LAUNCH, mark]
    return start("emulator", command, mark=mark, environment=environment, log=log, cwd=paths.home, tied=tied)


_LAUNCH = "import sys; sys.argv = ['ministack']; from ministack.app import main; main()"


def _settings(port: int) -> dict[str, str]:
    """Handlers inherit these; boto3 in them finds the emulator and nothing else."""
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
    """Asked without proxies."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/_ministack/health", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP OK
    except (urllib.error.URLError, OSError):
        return False


def clean_up(paths: LocalPaths) -> None:
    """Remove what the emulator and its functions left behind."""
    shutil.rmtree(paths.temporary, ignore_errors=True)
