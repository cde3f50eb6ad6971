"""Models that belong to the account are named by their ARN: provisioned, imported, custom, application profiles."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from promptmill.providers.addresses import AwsHost
from promptmill.providers.aws_signer import AwsSigner
from promptmill.providers.bedrock.provider import Bedrock
from promptmill.recipes.recipe_document import parse_recipe

ARNS = [
    "arn:aws:bedrock:us-west-2:111122223333:provisioned-model/a1b2c3d4e5f6",
    "arn:aws:bedrock:us-west-2:111122223333:imported-model/a1b2c3d4e5f6",
    "arn:aws:bedrock:us-west-2:111122223333:custom-model-deployment/a1b2c3d4e5f6",
    "arn:aws:bedrock:us-west-2:111122223333:application-inference-profile/a1b2c3d4e5f6",
    "arn:aws-us-gov:bedrock:us-gov-west-1:111122223333:inference-profile/us-gov.anthropic.claude-haiku-5-5",
]


@pytest.mark.parametrize("arn", ARNS)
def test_a_recipe_names_it_and_it_is_called_where_it_is(arn: str) -> None:
    text = f"routes: [{{model: 'bedrock/{arn}'}}]\nmax_output_tokens: 9\nprompt: '{{{{ text }}}}'\n"
    (route,) = parse_recipe("r", text.encode(), stage="dev").routes
    assert (route.provider, route.model) == ("bedrock", arn)
    assert _our_url(route) == _botocores_url(arn)


def _our_url(route: Route) -> str:
    provider = PROVIDERS["bedrock"]
    host = AwsHost(provider, cast("AwsSigner", None), region="eu-west-1", local=False)
    return Bedrock(provider, host, http=None, clock=None)._url(route, "converse", is_stream=False)  # type: ignore[arg-type]


def _botocores_url(arn: str) -> str:
    """Return the address that botocore would call, if asked in the region of the ARN."""
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=arn.split(":")[3])
    client = session.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))
    seen = list[str]()

    def stop(request: object, **_: object) -> None:
        seen.append(str(getattr(request, "url", "")))
        raise InterruptedError

    client.meta.events.register("before-send.bedrock-runtime.Converse", stop)
    with pytest.raises(InterruptedError):
        client.converse(modelId=arn, messages=[{"role": "user", "content": [{"text": "x"}]}])
    assert urlsplit(seen[0]).scheme == "https"
    return seen[0]
