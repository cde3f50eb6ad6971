"""Bad weather between the functions and the emulator: microburst, which throttles and delays as AWS does."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from promptmill.cli.local.processes import ProcessRecord, bare_environment, free_port, start, stop, wait_until
from tests.local.deployment import Deployment

FUNCTIONS = ("plan-job", "run-chunk", "run-requests", "finish-job", "settle-dead-letter", "sweep")
STORM: tuple[dict[str, Any], ...] = (
    # The first rule that strikes is the one: 15 % and 15/85 of the rest make 30 %.
    {"service": "dynamodb", "probability": 0.15, "error": {"code": "ProvisionedThroughputExceededException"}},
    {"service": "dynamodb", "probability": 0.15 / 0.85, "error": {"code": "ThrottlingException"}},
    {"service": "s3", "probability": 0.3, "error": {"code": "SlowDown", "status": 503}},
    {"service": "*", "latency": {"min": 5, "max": 60}},
)
_LAUNCH = """
import random, sys
from microburst import cli, forward
forward.HOP_BY_HOP -= {"content-length"}  # it is not, and all that a HEAD has to say of an object's size
random.seed(int(sys.argv.pop()))
sys.exit(cli.main())
"""
_FAULTS = re.compile(r'^microburst_faults_total\{service="([^"]*)",operation="[^"]*",action="([^"]*)"\} (\d+)')
_START_S = 60.0


class Weather(Struct, frozen=True):
    """A running microburst."""

    url: str

    def rules(self, rules: tuple[dict[str, Any], ...]) -> None:
        """These, and no others."""
        self._ask("rules", json.dumps(rules).encode())

    def struck(self) -> Counter[str]:
        """Faults by service and kind, latency left out."""
        found: Counter[str] = Counter()
        for line in self._ask("metrics").splitlines():
            if (fault := _FAULTS.match(line)) and "error:" in fault[2]:
                found[f"{fault[1]} {fault[2].partition('error:')[2].partition(',')[0]}"] += int(fault[3])
        return found

    def requests(self) -> dict[str, int]:
        """By service, those that were struck included."""
        by_service: list[dict[str, Any]] = json.loads(self._ask("stats"))["by_service"]
        return {counts["service"]: counts["requests"] for counts in by_service}

    def _ask(self, path: str, body: bytes | None = None) -> str:
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"{self.url}/_microburst/{path}", data=body, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            text: str = answer.read().decode()
        return text


@contextmanager
def weather(deployment: Deployment, folder: Path, *, seed: int) -> Iterator[Weather]:
    """The functions' calls pass through it while this is entered; ours don't."""
    record, url = _start(deployment.target.services.client("s3").meta.endpoint_url, folder, seed)
    try:
        _warm_up(deployment, url)
        with _functions_call(deployment, url):
            yield Weather(url)
    finally:
        stop(record)


def _start(upstream: str, folder: Path, seed: int) -> tuple[ProcessRecord, str]:
    port = free_port(0)
    config = folder / "weather.yaml"
    config.write_text("rules: []\n")
    flags = ["--upstream", upstream, "--port", str(port), "--config", str(config)]
    record = start(
        "microburst",
        [sys.executable, "-c", _LAUNCH, *flags, str(seed)],
        mark=str(config),
        environment=bare_environment(folder, folder),
        log=folder / "weather.log",
        cwd=folder,
        tied=True,
    )
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _answers(url), record, log=folder / "weather.log", seconds=_START_S)
    return record, url


def _answers(url: str) -> bool | None:
    try:
        Weather(url).requests()
    except OSError:
        return None
    return True


def _warm_up(deployment: Deployment, url: str) -> None:
    """It reads the model of a service when that is first called, which takes seconds."""
    session = deployment.target.services.session
    session.client("s3", endpoint_url=url).head_bucket(Bucket=deployment.settings.bucket)
    session.client("dynamodb", endpoint_url=url).describe_table(TableName=deployment.settings.jobs_table)
    session.client("sqs", endpoint_url=url).get_queue_attributes(QueueUrl=deployment.settings.chunks_queue)


@contextmanager
def _functions_call(deployment: Deployment, url: str) -> Iterator[None]:
    client = deployment.target.services.client("lambda")
    names = [f"promptmill-local-{name}" for name in FUNCTIONS]
    before = {name: client.get_function_configuration(FunctionName=name)["Environment"] for name in names}
    for name, environment in before.items():
        variables = {**environment["Variables"], "AWS_ENDPOINT_URL": url}
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    try:
        yield
    finally:
        for name, environment in before.items():
            client.update_function_configuration(FunctionName=name, Environment=environment)
