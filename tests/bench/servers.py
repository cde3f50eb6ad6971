"""Servers that benchmarks talk to, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3

from promptmill.wiring import Services

if TYPE_CHECKING:
    from promptmill.aws.s3.object_store import S3ObjectStore
    from promptmill.settings import Settings


class Server:
    """A module of ours that prints its port, and serves until its input ends."""

    def __init__(self, module: str, *words: str) -> None:
        command = [sys.executable, "-m", f"tests.bench.{module}", *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()  # which closes its pipes too


class Provider(Server):
    """Answers after ``latency_s``."""

    def __init__(self, latency_s: float) -> None:
        super().__init__("loopback", str(latency_s))

    def count(self) -> int:
        """Requests that it answered."""
        return int(_json(self.port, "/count")["count"])


class Bucket(Server):
    """S3, with its bodies on disk. ``sources``: what is made when it is read, see s3_server."""

    def __init__(self, *sources: str, latency_s: float = 0.0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="promptmill-bench-")
        super().__init__("s3_server", self._folder.name, str(latency_s), *sources)

    def counts(self) -> dict[str, int]:
        """Requests by kind."""
        counts: dict[str, int] = _json(self.port, "/-/counts")
        return counts

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def objects_at(port: int, settings: Settings) -> S3ObjectStore:
    """The real adapter, as wired."""
    session = boto3.Session("test", "test", region_name=settings.region)
    services = Services(settings, make_session=lambda: session, endpoint_url=f"http://127.0.0.1:{port}")
    return services.objects


def _json(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return json.load(answer)
