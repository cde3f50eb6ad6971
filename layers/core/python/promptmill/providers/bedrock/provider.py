"""Amazon Bedrock over plain HTTP with botocore's signature: Converse, and InvokeModel with each vendor's own body."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.providers.aws_signer import AwsAddresses, AwsSigner
from promptmill.providers.bedrock.bodies import Body, body_for
from promptmill.providers.bedrock.errors import AwsEventDecoder, error_of, request_id_of, stream_error
from promptmill.providers.http import HttpCalls
from promptmill.providers.read_stream import assembled
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed
from promptmill.wire.request_bodies import encoded, with_route_body
from promptmill.wire.streamed_answers import Assembler, timed

SERVICE = "bedrock"
BASE_URL = "https://bedrock-runtime.{region}.amazonaws.com"
_OK = 200


class Bedrock:
    """One deployment's calls to Bedrock."""

    def __init__(self, *, http: HttpCalls, signer: AwsSigner, clock: Clock, region: str, local: bool) -> None:
        self._http, self._signer, self._clock = http, signer, clock
        self._addresses = AwsAddresses(BASE_URL, region=region, local=local)

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py. What does not come in tokens, such as vectors, is not streamed."""
        del call_id  # the protocol has no place for it
        body = body_for(route, request)
        data = encoded(with_route_body(body.make(request, route), route))
        assembler = body.assembler() if route.stream and body.assembler else None
        operation = body.stream_operation if assembler else body.operation
        url = f"{self._addresses.base_url(route)}/model/{quote(route.model, safe='-._~')}/{operation}"
        region = self._addresses.region(route)
        headers = await self._signer.headers("POST", url, data, service=SERVICE, region=region)
        if assembler:
            return await self._streamed(route, request, body, assembler, signed=(url, data, headers))
        answer = await self._http.post(url, body=data, headers=headers, timeout_s=route.timeout_s)
        raw = parsed(answer.body)
        if answer.status != _OK:
            raise error_of(answer, raw, now=self._clock.now())
        completion = body.read(answer, raw, request, request_id=request_id_of(answer.headers))
        return timed(completion, answer.elapsed_s)

    async def _streamed(
        self,
        route: Route,
        request: CompletionRequest,
        body: Body,
        assembler: Assembler,
        *,
        signed: tuple[str, bytes, Mapping[str, str]],
    ) -> Completion:
        url, data, headers = signed
        async with self._http.stream(
            url, body=data, headers=headers, timeout_s=route.timeout_s, stall_s=route.stall_s
        ) as reply:
            if reply.status != _OK:
                answer = await reply.read()
                raise error_of(answer, parsed(answer.body), now=self._clock.now())
            request_id = request_id_of(reply.headers)
            raw = await assembled(
                reply,
                decoder=AwsEventDecoder(),
                assembler=assembler,
                error_of=lambda event: stream_error(event, request_id=request_id, now=self._clock.now()),
                request_id=request_id,
            )
            completion = body.read(HttpAnswer(_OK, reply.headers, b""), raw, request, request_id=request_id)
            return timed(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms)
