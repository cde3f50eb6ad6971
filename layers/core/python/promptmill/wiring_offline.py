"""Pick the adapters of commands that talk to no deployment: nothing leaves this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from promptmill.settings import Settings, Stage

if TYPE_CHECKING:
    import botocore.session

    from promptmill.detectors.deployed import DeployedDetectors
    from promptmill.providers.embedded_tokenizer import EmbeddedTokenizer
    from promptmill.providers.registry import HttpModelProviders


def offline_providers(stage: Stage, region: str = "us-east-1") -> HttpModelProviders:
    """Return the providers as far as they write calls: each call ends in ``NotSentError``, and nothing leaves this machine."""
    from promptmill.providers.registry import HttpModelProviders
    from promptmill.providers.unsent import UnneededSecrets
    from promptmill.system_clock import SystemClock

    def make_session() -> botocore.session.Session:
        import botocore.session

        session = botocore.session.Session()
        session.set_credentials("not-sent", "not-sent")
        return session

    unneeded = {f.name: "" for f in msgspec.structs.fields(Settings) if f.required}
    settings = msgspec.convert(unneeded | {"stage": stage, "region": region}, Settings)
    return HttpModelProviders(
        settings=settings, secrets=UnneededSecrets(), clock=SystemClock(), make_aws_session=make_session, sends=False
    )


def embedded_tokenizer(base_url: str) -> EmbeddedTokenizer:
    """Return what counts tokens by the server of the embedded model, which runs on this machine."""
    from promptmill.providers.embedded_tokenizer import EmbeddedTokenizer
    from promptmill.providers.http import HttpCalls
    from promptmill.providers.url_policy import make_url_policy
    from promptmill.system_clock import SystemClock

    policy = make_url_policy(local=True, private_ranges="")
    return EmbeddedTokenizer(base_url, HttpCalls(in_flight=1, policy=policy, clock=SystemClock()))


def offline_detectors() -> DeployedDetectors:
    """Return the detectors that run on this machine alone: no text leaves it."""
    from promptmill.detectors.deployed import DeployedDetectors
    from promptmill.system_clock import SystemClock

    return DeployedDetectors(["ner"], clock=SystemClock())
