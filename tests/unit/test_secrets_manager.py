"""Keys from Secrets Manager: read once, cached, and refused with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws

from promptmill.aws.secrets import CACHED_S, REFUSED_S, SecretsManagerStore
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.ports.model_provider import SecretStore
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class CountingClient:
    """Answers with a value or raises, and counts."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer, self.calls = answer, 0

    def get_secret_value(self, **asked: str) -> dict[str, Any]:
        assert asked == {"SecretId": "promptmill/openai"}
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def store_of(client: CountingClient, clock: FakeClock | None = None) -> SecretStore:
    return SecretsManagerStore(lambda: cast("SecretsManagerClient", client), clock=clock or FakeClock())


@pytest.fixture
def moto_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManagerClient]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="eu-west-1")


async def test_what_secrets_manager_itself_answers(moto_client: SecretsManagerClient) -> None:
    moto_client.create_secret(Name="text", SecretString="sk-1\n")
    moto_client.create_secret(Name="json", SecretString='{"api_key": " sk-2 "}')
    moto_client.create_secret(Name="binary", SecretBinary=b"sk-3")
    moto_client.create_secret(Name="going", SecretString="sk-4")
    moto_client.delete_secret(SecretId="going")
    store = SecretsManagerStore(lambda: moto_client, clock=FakeClock())

    assert [await store.read(name) for name in ("text", "json", "binary")] == ["sk-1", "sk-2", "sk-3"]
    for name in ("nowhere", "going"):
        with pytest.raises(RouteClosedError) as caught:
            await store.read(name)
        assert caught.value.code == "secret_missing"


async def test_read_once_however_many_wait_and_again_after_five_minutes() -> None:
    clock, client = FakeClock(auto=False), CountingClient({"SecretString": "old"})
    store = store_of(client, clock)

    assert await asyncio.gather(*(store.read("promptmill/openai") for _ in range(50))) == ["old"] * 50
    client.answer = {"SecretString": "new"}
    clock.advance(CACHED_S - 1)
    assert await store.read("promptmill/openai") == "old"
    clock.advance(1)
    assert await store.read("promptmill/openai") == "new"

    assert client.calls == 2
    assert CACHED_S <= 300


def aws_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "GetSecretValue")


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (aws_error("AccessDeniedException"), RouteClosedError, "secret_denied"),
        (aws_error("DecryptionFailure"), RouteClosedError, "secret_denied"),
        (NoCredentialsError(), RouteClosedError, "secret_denied"),
        (aws_error("ResourceNotFoundException"), RouteClosedError, "secret_missing"),
        (aws_error("ThrottlingException"), RetryLaterError, "secret_unavailable"),
        (EndpointConnectionError(endpoint_url="https://x"), RetryLaterError, "secret_unavailable"),
        ({"SecretString": ""}, RouteClosedError, "secret_malformed"),
        ({"SecretString": "sk-1\r\nX-Evil: 1"}, RouteClosedError, "secret_malformed"),
        ({"SecretString": "schlüssel"}, RouteClosedError, "secret_malformed"),
        ({"SecretString": '{"key": "sk"}'}, RouteClosedError, "secret_malformed"),
        ({"SecretString": '{"api_key": '}, RouteClosedError, "secret_malformed"),
        ({"SecretBinary": b"\xff\xfe"}, RouteClosedError, "secret_malformed"),
        ({}, RouteClosedError, "secret_malformed"),
    ],
    ids=repr,
)
async def test_why_there_is_no_key(answer: dict[str, Any] | Exception, kind: type[ProviderError], code: str) -> None:
    with pytest.raises(kind) as caught:
        await store_of(CountingClient(answer)).read("promptmill/openai")

    assert caught.value.code == code
    assert "sk" not in caught.value.detail.replace("secret", "")


async def test_a_failure_is_not_remembered() -> None:
    client = CountingClient(aws_error("ThrottlingException"))
    store = store_of(client)
    with pytest.raises(RetryLaterError):
        await store.read("promptmill/openai")

    client.answer = {"SecretString": "sk-1"}

    assert await store.read("promptmill/openai") == "sk-1"


async def test_a_rotated_key_is_picked_up_within_five_minutes() -> None:
    client, clock = CountingClient({"SecretString": "old"}), FakeClock(auto=False)
    store = store_of(client, clock)
    seen = [await store.read("promptmill/openai")]
    client.answer = {"SecretString": "new"}
    for pause_s in (CACHED_S - 1, 1):
        clock.advance(pause_s)
        seen.append(await store.read("promptmill/openai"))

    assert seen == ["old", "old", "new"]
    assert CACHED_S == 300


async def test_a_key_that_was_refused_is_read_again_but_not_by_every_call() -> None:
    client, clock = CountingClient({"SecretString": "old"}), FakeClock(auto=False)
    store = store_of(client, clock)
    await store.read("promptmill/openai")
    clock.advance(REFUSED_S)
    asked = [store.read("promptmill/openai", other_than="old") for _ in range(20)]

    assert await asyncio.gather(*asked) == ["old"] * 20
    assert client.calls == 2
    client.answer = {"SecretString": "new"}
    clock.advance(REFUSED_S)
    assert await store.read("promptmill/openai", other_than="old") == "new"
    assert await store.read("promptmill/openai", other_than="old") == "new"
    assert client.calls == 3


async def test_a_credential_document_is_the_secret_as_a_whole_on_one_line() -> None:
    document = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN\\nabc",\n  "client_email": "å@b"\n}\n'

    read = await store_of(CountingClient({"SecretString": document})).read("promptmill/openai")

    assert json.loads(read) == json.loads(document)
    assert read.isascii()
    assert read.isprintable()


async def test_a_document_with_a_key_is_that_key() -> None:
    answer = {"SecretString": '{"type": "x", "api_key": "sk-5"}'}
    assert await store_of(CountingClient(answer)).read("promptmill/openai") == "sk-5"
