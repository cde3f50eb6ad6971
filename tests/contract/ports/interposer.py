"""A client between an adapter and its store, at which the next conditional write meets trouble."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from botocore.exceptions import ClientError, ConnectionClosedError

Trouble = Literal["none", "lost", "repeated", "conflict", "throttled"]
TROUBLES: tuple[Trouble, ...] = ("lost", "repeated", "conflict", "throttled")
"""``lost``: it was written, and the connection broke. ``repeated``: the same, and the SDK wrote again underneath.
``conflict``: a transaction of another writer was at work on the item. ``throttled``: nothing was written."""

Signature = tuple[str, ...]


def signature_of(operation: str, request: Mapping[str, Any]) -> Signature | None:
    """Return what tells one conditional write from another, None if a request is none."""
    if operation == "TransactWriteItems":
        items = [(kind, item) for each in request["TransactItems"] for kind, item in each.items()]
        return (operation, *sorted({f"{kind} {item.get('ConditionExpression', '')}" for kind, item in items}))
    if "ConditionExpression" in request:
        return (operation, request["ConditionExpression"])
    return next(((operation, name) for name in ("IfNoneMatch", "IfMatch") if name in request), None)


class Interposer:
    """A client whose next conditional write meets a trouble, once.

    Attributes:
        met: how many troubles were met.
        calls: how many calls were made.
        before_call: what another writer does in between, by the number of the call that it comes before.
    """

    def __init__(self, client: Any) -> None:
        self._client, self.met, self.calls = client, 0, 0
        self.trouble: Trouble = "none"
        self.before_call: dict[int, Callable[[], None]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        operation = self._client.meta.method_to_api_mapping.get(name, "")

        def call(**request: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            self.before_call.pop(number, lambda: None)()
            if self.trouble == "none" or signature_of(operation, request) is None:
                return method(**request)
            trouble, self.trouble = self.trouble, "none"
            self.met += 1
            return _meet(trouble, operation, method, request)

        return call


def _meet(trouble: Trouble, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> Any:
    match trouble:
        case "lost":
            method(**request)
            raise ConnectionClosedError(endpoint_url="https://store")
        case "repeated":
            method(**request)
            return method(**request)
        case "conflict":
            raise _conflict(operation, request)
        case _:
            raise _refused("SlowDown" if operation.endswith("Object") else "ThrottlingException", operation)


def _conflict(operation: str, request: dict[str, Any]) -> ClientError:
    if operation == "TransactWriteItems":
        error = _refused("TransactionCanceledException", operation)
        reasons = [{"Code": "None"} for _ in request["TransactItems"]]
        reasons[-1] = {"Code": "TransactionConflict"}
        response: Any = error.response
        response["CancellationReasons"] = reasons
        return error
    code = "TransactionConflictException" if "TableName" in request else "ConditionalRequestConflict"
    return _refused(code, operation)


def _refused(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


async def until_answered(act: Callable[[], Awaitable[Any]], tries: int = 3) -> Any:
    """Do what every caller of a write to S3 does after a failure: the same again."""
    for _ in range(tries - 1):
        try:
            return await act()
        except (ClientError, ConnectionClosedError):
            continue
    return await act()
