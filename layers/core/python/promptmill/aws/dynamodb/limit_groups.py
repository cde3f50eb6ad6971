"""Limit groups on the jobs table. Each is one item, so that a write returns all that a worker must know.

| attribute | what |
|---|---|
| ``pk`` = ``LIMIT#<group>``, ``sk`` = ``STATE`` | |
| ``m#<worker>`` | a live member |
| ``w#<job>`` | until when the job counts as waiting |
| ``learnt``, ``circuit``, ``estimate``, ``told``, ``in_flight`` | see ``domain/limit_group.py`` |

Members and jobs are attributes of their own, not entries of a map: an update needs no map to be there first.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import structs

from promptmill.aws.dynamodb.items import from_item, to_item
from promptmill.aws.dynamodb.transactions import insist_if
from promptmill.aws.threads import to_thread
from promptmill.domain.limit_group import NOTHING, Circuit, Estimate, Found, GroupState, InFlight, Learnt, Member
from promptmill.domain.limits import Told
from promptmill.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


T = TypeVar("T")

_MEMBER, _WAITING = "m#", "w#"
_KEPT_S = 30 * 24 * 3600
_MAX_FORGOTTEN = 50  # in one write: an expression has a size


class DynamoDbLimitGroups:
    """The ``LimitGroups`` port."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random, clock: Clock) -> None:
        self._db, self._table, self._rng, self._clock = client, table, rng, clock

    async def read(self, group: str) -> GroupState:
        found = await to_thread(self._db.get_item, TableName=self._table, Key=_key(group), ConsistentRead=True)
        return _state(found.get("Item", {}))

    async def show(
        self, group: str, worker: str, member: Member, *, forget: Sequence[str] = (), found: Found = NOTHING
    ) -> GroupState:
        gone = [_MEMBER + other for other in forget[:_MAX_FORGOTTEN] if other != worker]
        written = await to_thread(
            self._db.update_item,
            TableName=self._table,
            Key=_key(group),
            ReturnValues="ALL_NEW",
            **self._update({_MEMBER + worker: member, **_given(found)}, [_WAITING + member.job, *gone]),
        )
        return _state(written["Attributes"])

    async def leave(self, group: str, worker: str, *, learnt: Learnt | None = None) -> None:
        update = self._update({"learnt": learnt} if learnt else {}, [_MEMBER + worker])
        await to_thread(self._db.update_item, TableName=self._table, Key=_key(group), **update)

    async def wait(self, group: str, job: str, *, until: float, forget: Sequence[str] = ()) -> None:
        stale = [_WAITING + other for other in forget[:_MAX_FORGOTTEN] if other != job]
        update = self._update({_WAITING + job: until}, stale)
        await to_thread(self._db.update_item, TableName=self._table, Key=_key(group), **update)

    async def set_circuit(self, group: str, *, seen: Circuit | None, to: Circuit | None) -> bool:
        return await self._set_if(group, "circuit", seen, to)

    async def set_estimate(self, group: str, *, seen: Estimate | None, to: Estimate) -> bool:
        return await self._set_if(group, "estimate", seen, to)

    async def _set_if(self, group: str, name: str, seen: Any, to: Any) -> bool:
        update = self._update({name: to} if to else {}, [] if to else [name])
        update["ExpressionAttributeNames"]["#seen"] = name
        if seen:
            update["ExpressionAttributeValues"][":seen"] = to_item({"seen": _plain(seen)})["seen"]
        moved = await insist_if(
            self._db.update_item,
            rng=self._rng,
            TableName=self._table,
            Key=_key(group),
            ConditionExpression="#seen = :seen" if seen else "attribute_not_exists(#seen)",
            **update,
        )
        # Perhaps an earlier try had got through, and only its answer was lost.
        return moved or getattr(await self.read(group), name) == to

    def _update(self, values: dict[str, Any], removed: Sequence[str]) -> dict[str, Any]:
        """Build an update that sets and removes whole attributes, whatever characters their names hold."""
        values = values | {"ttl": int(self._clock.now().timestamp()) + _KEPT_S}
        sets = {f"#s{place}": name for place, name in enumerate(values)}
        removes = {f"#r{place}": name for place, name in enumerate(removed)}
        expression = "SET " + ", ".join(f"{alias} = :{alias[1:]}" for alias in sets)
        expression += (" REMOVE " + ", ".join(removes)) if removes else ""
        typed = to_item({f":{alias[1:]}": _plain(values[name]) for alias, name in sets.items()})
        return {
            "UpdateExpression": expression,
            "ExpressionAttributeNames": sets | removes,
            "ExpressionAttributeValues": typed,
        }


def _given(found: Found) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(found).items() if value is not None}


def _plain(value: Any) -> Any:
    """Return structs as lists, and floats as decimals of four places."""
    built = msgspec.to_builtins(value)
    return [_number(part) for part in built] if isinstance(built, list) else _number(built)


def _number(value: Any) -> Any:
    return Decimal(f"{value:.4f}") if isinstance(value, float) else value


def _state(item: Any) -> GroupState:
    plain = from_item(item)
    return GroupState(
        members={name[2:]: _read(value, Member) for name, value in plain.items() if name.startswith(_MEMBER)},
        waiting={name[2:]: float(value) for name, value in plain.items() if name.startswith(_WAITING)},
        learnt=_read(plain["learnt"], Learnt) if "learnt" in plain else Learnt(),
        circuit=_read(plain["circuit"], Circuit) if "circuit" in plain else None,
        estimate=_read(plain["estimate"], Estimate) if "estimate" in plain else None,
        told=_read(plain["told"], Told) if "told" in plain else None,
        in_flight=_read(plain["in_flight"], InFlight) if "in_flight" in plain else None,
    )


def _read(value: Any, kind: type[T]) -> T:
    return msgspec.convert([_whole_or_float(v) if isinstance(v, Decimal) else v for v in value], kind)


def _whole_or_float(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _key(group: str) -> Any:
    return to_item({"pk": f"LIMIT#{group}", "sk": "STATE"})
