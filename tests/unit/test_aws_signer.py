"""Whose credentials sign, and what happens when there are none or they grow old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from promptmill.adapters.aws_signer import AwsSigner
from promptmill.domain.errors import RetryLaterError, RouteClosedError


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


async def test_credentials_are_refreshed_before_they_run_out() -> None:
    made: list[str] = []

    def fetch() -> dict[str, str]:
        made.append(f"AKID{len(made)}")
        expiry = datetime.now(UTC) + timedelta(seconds=1 if len(made) == 1 else 3600)
        return {"access_key": made[-1], "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    signer = AwsSigner(lambda: Session(RefreshableCredentials.create_from_metadata(fetch(), fetch, "test")))

    first, second = await headers_by(signer), await headers_by(signer)

    assert made == ["AKID0", "AKID1"]
    assert "AKID1" in first["Authorization"]
    assert "AKID1" in second["Authorization"]
    assert second["X-Amz-Security-Token"] == "t"


async def test_credentials_that_cannot_be_had_now_are_tried_again_later() -> None:
    def make_session() -> botocore.session.Session:
        raise CredentialRetrievalError(provider="sso", error_msg="no network")

    with pytest.raises(RetryLaterError) as caught:
        await headers_by(AwsSigner(make_session))
    assert caught.value.code == "credentials_unavailable"
