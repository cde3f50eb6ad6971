"""Which adapter finds what for which engine; each is imported and made when its first record needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from promptmill.ports.clock import Clock
from promptmill.ports.detectors import ExternalDetector
from promptmill.redaction.policy import DetectorMissingError

if TYPE_CHECKING:
    import botocore.session

    from promptmill.detectors.aws_calls import AwsCalls
    from promptmill.detectors.ner import OnnxDetector
    from promptmill.providers.http import HttpCalls


class AwsAccess(Struct, frozen=True):
    """What services are asked with. ``base_url`` takes the place of every service's own address, for tests."""

    region: str
    make_session: Callable[[], botocore.session.Session]
    private_ranges: str = ""
    base_url: str = ""


class DeployedDetectors:
    """Those of one process.

    Args:
        engines: names of those that are deployed here.
        aws: None where no service is asked.
    """

    def __init__(self, engines: Collection[str], *, clock: Clock, aws: AwsAccess | None = None) -> None:
        self._engines, self._clock, self._aws = frozenset(engines), clock, aws
        self._made: dict[str, ExternalDetector] = {}
        self._http: HttpCalls | None = None
        self._model: OnnxDetector | None = None

    def detector(self, engine: str) -> ExternalDetector:
        """See ports/entity_finder.py."""
        if engine not in self._made:
            makers: Mapping[str, Callable[[], ExternalDetector]] = {"ner": self._make_ner}
            if self._aws is not None:
                makers = {**makers, "comprehend": self._make_comprehend, "guardrail": self._make_guardrail}
            if engine not in self._engines or engine not in makers:
                raise DetectorMissingError(engine)
            self._made[engine] = makers[engine]()
        return self._made[engine]

    async def close(self) -> None:
        self._made.clear()
        if self._model is not None:
            self._model.close()
        if self._http is not None:
            await self._http.close()

    def _make_ner(self) -> ExternalDetector:
        from promptmill.detectors.ner import OnnxDetector  # noqa: PLC0415 (imported when needed)

        self._model = OnnxDetector()
        return self._model

    def _make_comprehend(self) -> ExternalDetector:
        from promptmill.detectors.comprehend import ComprehendDetector  # noqa: PLC0415 (imported when needed)

        aws = self._access()
        return ComprehendDetector(self._calls(aws), region=aws.region)

    def _make_guardrail(self) -> ExternalDetector:
        from promptmill.detectors.guardrail import GuardrailDetector  # noqa: PLC0415 (imported when needed)

        aws = self._access()
        return GuardrailDetector(self._calls(aws), region=aws.region)

    def _access(self) -> AwsAccess:
        assert self._aws is not None  # noqa: S101  its makers are only offered then
        return self._aws

    def _calls(self, aws: AwsAccess) -> AwsCalls:
        from promptmill.detectors.aws_calls import MAX_AT_ONCE, AwsCalls  # noqa: PLC0415 (as above)
        from promptmill.providers.aws_signer import AwsSigner  # noqa: PLC0415
        from promptmill.providers.http import HttpCalls  # noqa: PLC0415
        from promptmill.providers.url_policy import make_url_policy  # noqa: PLC0415

        if self._http is None:
            policy = make_url_policy(local=bool(aws.base_url), private_ranges=aws.private_ranges)
            self._http = HttpCalls(in_flight=2 * MAX_AT_ONCE, policy=policy, clock=self._clock)
        signer = AwsSigner(aws.make_session)
        return AwsCalls(http=self._http, signer=signer, clock=self._clock, base_url=aws.base_url)
