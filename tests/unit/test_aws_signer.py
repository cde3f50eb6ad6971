"""Whose credentials sign, and what happens when there are none or they grow old."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.providers.aws_signer import AwsSigner


class Session(botocore.session.Session):
    """A session with these credentials, which finds none by itself."""

    def __init__(self, credentials: Any) -> None:
        super().__init__()
        self.given = credentials

    def get_credentials(self, *_: Any, **__: Any) -> Any:
        return self.given


async def headers_by(signer: AwsSigner) -> dict[str, str]:
    return await signer.headers("POST", "https://host/model/m/converse", b"{}", service="bedrock", region="eu-west-1")


async def test_no_credentials_close_the_route() -> None:
    with pytest.raises(RouteClosedError) as caught:
        await headers_by(AwsSigner(lambda: Session(None)))
    assert caught.value.code == "credentials_missing"


async def test_credentials_are_refreshed_before_they_run_out_and_in_a_thread() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    threads: list[threading.Thread] = []

    def fetch() -> dict[str, str]:
        threads.append(threading.current_thread())
        expiry = now + timedelta(hours=1)
        return {"access_key": "AKIDNEW", "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    old = RefreshableCredentials(
        "AKIDOLD", "s", "t", now + timedelta(hours=1), fetch, method="test", time_fetcher=lambda: now
    )
    signer = AwsSigner(lambda: Session(old))

    first = await headers_by(signer)
    now += timedelta(minutes=55)
    second = await headers_by(signer)

    assert "AKIDOLD/" in first["Authorization"]
    assert "AKIDNEW/" in second["Authorization"]
    assert second["X-Amz-Security-Token"] == "t"
    assert threading.main_thread() not in threads


async def test_credentials_that_cannot_be_had_now_are_tried_again_later() -> None:
    def make_session() -> botocore.session.Session:
        raise CredentialRetrievalError(provider="sso", error_msg="no network")

    with pytest.raises(RetryLaterError) as caught:
        await headers_by(AwsSigner(make_session))
    assert caught.value.code == "credentials_unavailable"
