"""DynamoDB writes that outlive conflicts with transactions, throttling and lost connections."""

from __future__ import annotations

import random
import re
from asyncio import sleep
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError, HTTPClientError

from promptmill.aws.dynamodb.items import failed_condition, to_item
from promptmill.aws.threads import to_thread

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_CONFLICTS = 12
_REPEATS = 2  # of what the client has repeated a few times by then, under the same token
RECONNECTS = _REPEATS
"""How often a write that tells whether it was made before is repeated after its answer was lost."""
_FIRST_WAIT_S, _MAX_WAIT_S = 0.05, 3.2
_REFUSED = "ConditionalCheckFailed"
_CONFLICTING = {
    "TransactionConflict",
    "TransactionConflictException",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
}
_BUSY = {
    "TransactionInProgressException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
}
_Trouble = Literal["conflict", "busy", "lost", "lasting"]
_NAME = re.compile(r"#(\w+)")


async def transact(client: DynamoDBClient, items: Sequence[Any], *, rng: random.Random) -> tuple[int, ...]:
    """Write all or nothing, under one token however often it is tried.

    Where the first item's condition fails the others' conflicts do not matter: that one says who owns the rest.

    Returns:
        CallSlots of the items whose conditions failed, or () if everything was written. After a lost response a condition may
        fail because the write was made: read, and compare.
    """
    request: Any = {"TransactItems": list(items), "ClientRequestToken": f"{rng.getrandbits(128):032x}"}
    try:
        await insist(client.transact_write_items, rng=rng, reconnects=RECONNECTS, **request)
    except ClientError as error:
        refused = tuple(place for place, code in enumerate(_reasons(error)) if code == _REFUSED)
        if not refused:
            raise
        return refused
    return ()


async def insist(call: Callable[..., Any], *, rng: random.Random, reconnects: int = 0, **request: Any) -> Any:
    """Call until it is done, or is refused for a reason that lasts."""
    patience: dict[_Trouble, int] = {"conflict": _CONFLICTS, "busy": _REPEATS, "lost": reconnects, "lasting": 0}
    for tried in count():
        try:
            return await to_thread(call, **request)
        except (ClientError, HTTPClientError) as error:
            trouble = _trouble(error)
            if not patience[trouble]:
                raise
            patience[trouble] -= 1
        await sleep(rng.uniform(0, min(_MAX_WAIT_S, _FIRST_WAIT_S * 2**tried)))
    raise AssertionError("unreachable")


async def insist_if(call: Callable[..., Any], *, rng: random.Random, **request: Any) -> bool:
    """Make a conditional write until it is done or its condition is refused, which returns False.

    After a lost answer the condition may fail because the write was made: read, and compare.
    """
    try:
        await insist(call, rng=rng, reconnects=RECONNECTS, **request)
    except ClientError as error:
        if failed_condition(error):
            return False
        raise
    return True


def update(
    table: str,
    key: Mapping[str, Any],
    *,
    sets: Mapping[str, Any] | None = None,
    adds: Mapping[str, Any] | None = None,
    condition: str = "",
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build a request to update one item. Names are placeholders (``#name``) in the condition too: many are reserved."""
    clauses = []
    if sets:
        clauses.append("SET " + ", ".join(f"#{name} = :{name}" for name in sets))
    if adds:
        clauses.append("ADD " + ", ".join(f"#{name} :{name}" for name in adds))
    expression = " ".join(clauses)
    given = {f":{name}": value for part in (sets, adds, values) for name, value in (part or {}).items()}
    request = {
        "TableName": table,
        "Key": to_item(key),
        "UpdateExpression": expression,
        "ExpressionAttributeNames": {f"#{name}": name for name in _NAME.findall(f"{expression} {condition}")},
        "ExpressionAttributeValues": to_item(given),
    }
    return request | ({"ConditionExpression": condition} if condition else {})


def _trouble(error: ClientError | HTTPClientError) -> _Trouble:
    if isinstance(error, HTTPClientError):
        return "lost"
    reasons = _reasons(error) or [error.response.get("Error", {}).get("Code", "")]
    if reasons[0] != _REFUSED and not _CONFLICTING.isdisjoint(reasons):
        return "conflict"
    return "busy" if reasons[0] in _BUSY else "lasting"


def _reasons(error: ClientError) -> list[str]:
    response: Any = error.response
    return [reason.get("Code", "") for reason in response.get("CancellationReasons", [])]
