"""Count tokens by the server of the embedded model, which has its template and its vocabulary. Nothing leaves this machine."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import ProviderError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from promptmill.providers.http import HttpCalls
from promptmill.wire.openai_chat.request_body import write_request

_TIMEOUT_S = 30.0
_JSON = {"Content-Type": "application/json"}


class _Prompt(Struct):
    prompt: str


class _Tokens(Struct):
    tokens: list[int]


_Answer = TypeVar("_Answer", _Prompt, _Tokens)


class EmbeddedTokenizer:
    """Asks llama.cpp's server, at the address of its OpenAI API."""

    def __init__(self, base_url: str, http: HttpCalls) -> None:
        self._server, self._http = base_url.removesuffix("/v1"), http

    async def count(self, route: Route, request: CompletionRequest) -> int | None:
        """Return the input tokens of a call, as the server will report them; None if it does not say."""
        body = write_request(request, model=route.model, provider=PROVIDERS[route.provider], wire=route.wire)
        fields: dict[str, Any] = {name: value for name, value in body.items() if name in ("messages", "tools")}
        try:
            prompt = (await self._ask("/apply-template", fields, _Prompt)).prompt
            return len((await self._ask("/tokenize", {"content": prompt, "parse_special": True}, _Tokens)).tokens)
        except (ProviderError, msgspec.MsgspecError):  # a stub answers in the model's place, or nobody does
            return None

    async def close(self) -> None:
        await self._http.close()

    async def _ask(self, path: str, fields: dict[str, Any], kind: type[_Answer]) -> _Answer:
        answer = await self._http.post(
            f"{self._server}{path}", body=msgspec.json.encode(fields), headers=_JSON, timeout_s=_TIMEOUT_S
        )
        return msgspec.json.decode(answer.body, type=kind)
