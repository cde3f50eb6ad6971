"""Finding a deployment; and never a call to a real account for the local one."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import msgspec
import pytest

from promptmill.aws.sessions import local_session
from promptmill.cli.local.processes import ProcessRecord, free_port
from promptmill.cli.local.stack import LocalState
from promptmill.cli.target import find_target, local_target, settings_from
from promptmill.domain.errors import UserError
from tests.unit.cli.fake_target import SETTINGS, typed

OUTPUTS = {
    "Stage": "dev",
    "Region": "eu-central-1",
    "Bucket": "mill-bucket",
    "JobsTable": "jobs",
    "ChargesTable": "charges",
    "UploadsQueue": "uploads",
    "ChunksQueue": "chunks",
    "FinishQueue": "finish",
    "RequestsQueue": "requests",
    "RepliesPrefix": "promptmill-dev-replies",
    "EventBus": "bus",
}
HOSTILE = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_REGION": "eu-west-3",
    "AWS_DEFAULT_REGION": "eu-west-3",
    "AWS_ENDPOINT_URL": "https://example.invalid",
    "AWS_ENDPOINT_URL_SQS": "https://example.invalid",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_CA_BUNDLE": "/nonexistent",
    "AWS_MAX_ATTEMPTS": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile production]\nregion = eu-west-3\nendpoint_url = https://example.invalid\n")
    for name, value in (HOSTILE | {"AWS_CONFIG_FILE": str(config)}).items():
        monkeypatch.setenv(name, value)


class _Recorder(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"QueueUrls": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def clean_aws(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No credentials and no configuration from anywhere."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(folder / "none"))


@pytest.fixture
def emulator() -> Iterator[str]:
    _Recorder.seen.clear()
    with served(_Recorder) as url:
        yield url


@pytest.mark.usefixtures("hostile")
def test_local_calls_go_to_the_emulator_whatever_is_in_the_environment(emulator: str) -> None:
    client = local_session().client("sqs", endpoint_url=emulator)
    assert client.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    client.close()
    (path, authorization) = _Recorder.seen[0]
    assert path == "/"
    assert "Credential=test/" in authorization
    assert "/us-east-1/sqs/" in authorization
    assert "AKIAREAL" not in authorization


@pytest.mark.usefixtures("hostile")
def test_the_local_session_knows_nothing_of_the_person() -> None:
    session = local_session()
    credentials = session.get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.token) == ("test", None)
    assert session.region_name == "us-east-1"
    assert session.available_profiles == []


def test_without_a_stage_and_without_a_local_stack_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))
    result = typed(None, "status")
    assert result.exit_code == 1
    assert "no stage was given" in result.stderr
    assert "--stage dev" in result.stderr
    assert "the local stack is not running" in typed(None, "status", "--stage", "local").stderr


def state(tmp_path: Path, *, pid: int, mark: str) -> None:
    alive = ProcessRecord("emulator", pid, mark)
    outputs = OUTPUTS | {"Stage": "local", "Region": "ignored"}
    found = LocalState(
        "http://127.0.0.1:1", "http://127.0.0.1:2/v1", is_stub=False, processes=(alive,), outputs=outputs
    )
    (tmp_path / "state.json").write_bytes(msgspec.json.encode(found))


def test_a_stack_that_is_up_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))
    state(tmp_path, pid=os.getpid(), mark=Path(sys.executable).name)
    target = find_target(None)
    assert target.name == "local"
    assert target.settings.local_model_url == "http://127.0.0.1:2/v1"
    assert target.settings.region == "us-east-1"


def test_a_process_id_that_another_program_got_is_no_stack(tmp_path: Path) -> None:
    state(tmp_path, pid=os.getpid(), mark="surely not in this command line")
    with pytest.raises(UserError, match="not running"):
        local_target(str(tmp_path))


class _Account(BaseHTTPRequestHandler):
    """STS and CloudFormation of an account, as far as the CLI asks them; one stack."""

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if asked["Action"] == ["GetCallerIdentity"]:
            self._answer(
                200, "<R><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></R>"
            )
        elif asked["StackName"][0] in ("promptmill-dev", "promptmill-search-dev"):
            members = "".join(
                f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
                for name, value in OUTPUTS.items()
            )
            stack = f"<member><StackName>x</StackName><Outputs>{members}</Outputs></member>"
            self._answer(200, f"<R><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></R>")
        else:
            message = f"Stack with id {asked['StackName'][0]} does not exist"
            self._answer(400, f"<R><Error><Code>ValidationError</Code><Message>{message}</Message></Error></R>")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Found by the normal chain: AWS_ENDPOINT_URL is part of it."""
    clean_aws(monkeypatch, tmp_path)
    with served(_Account) as url:
        variables = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}
        for name, value in (variables | {"AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}).items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.usefixtures("account")
def test_a_real_account_is_found_by_the_stack_of_the_stage() -> None:
    target = find_target("dev")
    assert target.name == "123456789012/eu-central-1/dev"
    assert target.settings == SETTINGS


@pytest.mark.usefixtures("account")
def test_one_of_several_stacks_of_a_stage_is_found_by_its_name() -> None:
    assert find_target("dev", "search").name == "123456789012/eu-central-1/search-dev"
    result = typed(None, "status", "--stage", "dev", PROMPTMILL_NAME="other")
    assert "there is no stack promptmill-other-dev" in result.stderr
    assert "make deploy STAGE=dev CONTEXT=name=other" in result.stderr


def test_a_name_without_a_stage_is_refused() -> None:
    for words in (("--name", "search"), ("--name", "search", "--stage", "local")):
        result = typed(None, "status", *words)
        assert result.exit_code == 1
        assert "add --stage" in result.stderr


@pytest.mark.usefixtures("account")
def test_a_missing_stack_says_where_it_looked() -> None:
    result = typed(None, "status", "--stage", "prod")
    assert result.exit_code == 1
    assert "there is no stack promptmill-prod in 123456789012/eu-central-1" in result.stderr
    assert "make deploy STAGE=prod" in result.stderr


def test_the_stage_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_aws(monkeypatch, tmp_path)
    result = typed(None, "status", PROMPTMILL_STAGE="dev")
    assert result.exit_code == 1
    assert "credentials" in result.stderr or "region" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_outdated_stack_names_what_it_lacks() -> None:
    with pytest.raises(UserError, match="no output Bucket, EventBus"):
        settings_from({name: value for name, value in OUTPUTS.items() if name not in ("Bucket", "EventBus")})


def test_ports_in_use_are_known() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(0) > 0
