"""Make the detectors that are deployed here; each is imported and made when the first record needs it."""

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
    """The means to ask AWS services. ``base_url`` takes the place of every service's own address, for tests."""

    region: str
    make_session: Callable[[], botocore.session.Session]
    private_ranges: str = ""
    base_url: str = ""


class DeployedDetectors:
    """The external detectors of one process.

    Args:
        names: the detectors that are deployed here.
        aws: None if no service may be asked.
    """

    def __init__(self, names: Collection[str], *, clock: Clock, aws: AwsAccess | None = None) -> None:
        self._names, self._clock, self._aws = frozenset(names), clock, aws
        self._made: dict[str, ExternalDetector] = {}
        self._http: HttpCalls | None = None
        self._model: OnnxDetector | None = None

    def detector(self, name: str) -> ExternalDetector:
        """Return a detector by its name: see ``ExternalDetectors``."""
        if name not in self._made:
            makers: Mapping[str, Callable[[], ExternalDetector]] = {"ner": self._make_ner}
            if self._aws is not None:
                makers = {**makers, "comprehend": self._make_comprehend, "guardrail": self._make_guardrail}
            if name not in self._names or name not in makers:
                raise DetectorMissingError(name)
            self._made[name] = makers[name]()
        return self._made[name]

    async def close(self) -> None:
        """Close what the detectors hold open."""
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
