"""Make the sessions that credentials, region and settings of AWS calls come from."""

from __future__ import annotations

import os

import boto3
import botocore.session
from botocore.config import Config

LOCAL_REGION = "us-east-1"
LOCAL_ACCOUNT = "000000000000"


def account_session() -> boto3.Session:
    """Return a session that takes the normal chain: environment, profile, SSO, instance role."""
    return boto3.Session()


def local_session() -> boto3.Session:
    """Return a session for the emulator. It sees no variable, file, profile or proxy of the person who runs it."""
    core = botocore.session.Session(session_vars=_without_environment())
    core.set_default_client_config(
        Config(proxies={}, use_fips_endpoint=False, use_dualstack_endpoint=False, s3={"addressing_style": "path"})
    )
    return boto3.Session(
        botocore_session=core,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator takes any
        region_name=LOCAL_REGION,
    )


def _without_environment() -> dict[str, tuple[None, None, object, object]]:
    defaults = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    nothing = (None, None, os.devnull, None)
    return defaults | {"config_file": nothing, "credentials_file": nothing}
