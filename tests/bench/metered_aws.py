"""The real adapters of S3 and DynamoDB on moto, with a meter of what AWS would bill."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import boto3

from promptmill import aws
from tests.contract.ports.conftest import create_table

_KB = 1024
_READ = 4 * _KB
_S3 = {
    "put_object": "S3 write",
    "list_objects_v2": "S3 write",
    "create_multipart_upload": "S3 write",
    "upload_part": "S3 write",
    "upload_part_copy": "S3 write",
    "complete_multipart_upload": "S3 write",
    "get_object": "S3 read",
    "head_object": "S3 read",
    "get_object_tagging": "S3 read",
}


class Meter:
    """``units``: what is billed, by kind; ``calls``: how often, by operation. ``bytes_written``: by kind of storage."""

    def __init__(self) -> None:
        self.units, self.calls, self.bytes_written = Counter[str](), Counter[str](), Counter[str]()

    def s3(self, operation: str, request: dict[str, Any], response: Any) -> None:
        del response
        self.calls[f"S3 {operation}"] += 1
        self.units[_S3[operation]] += 1
        self.bytes_written["S3"] += len(request.get("Body", b""))

    def write(self, size: int, *, times: int = 1) -> None:
        self.units["DynamoDB write unit"] += max(1, math.ceil(size / _KB)) * times

    def read(self, size: int, *, consistent: bool) -> None:
        self.units["DynamoDB read unit"] += max(1, math.ceil(size / _READ)) * (1 if consistent else 0.5)  # type: ignore[assignment]  # halves


class MeteredS3:
    """A client."""

    def __init__(self, client: Any, meter: Meter) -> None:
        self._client, self._meter = client, meter

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)
        if name not in _S3:
            return call  # type: ignore[no-any-return]  # aborts and the like are free

        def metered(**request: Any) -> Any:
            response = call(**request)
            self._meter.s3(name, request, response)
            return response

        return metered


class MeteredDynamoDb:
    """A client: writes by the size of the item as it is afterwards, twice in a transaction, once more for each index."""

    def __init__(self, client: Any, meter: Meter, indexes: dict[str, dict[str, str]]) -> None:
        self._client, self._meter, self._indexes = client, meter, indexes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        return self._wrote("put_item", request, _key(request["Item"]))

    def update_item(self, **request: Any) -> Any:
        return self._wrote("update_item", request, request["Key"])

    def delete_item(self, **request: Any) -> Any:
        self._meter.write(self._size(request["TableName"], request["Key"])[0])
        self._meter.calls["DynamoDB delete_item"] += 1
        return self._client.delete_item(**request)

    def transact_write_items(self, **request: Any) -> Any:
        response = self._client.transact_write_items(**request)
        self._meter.calls["DynamoDB transact_write_items"] += 1
        for item in request["TransactItems"]:
            ((kind, what),) = item.items()
            key = _key(what["Item"]) if kind == "Put" else what["Key"]
            self._bill(what["TableName"], key, times=2, indexed=kind != "ConditionCheck")
        return response

    def get_item(self, **request: Any) -> Any:
        found = self._client.get_item(**request)
        self._meter.calls["DynamoDB get_item"] += 1
        self._meter.read(item_size(found.get("Item", {})), consistent=request.get("ConsistentRead", False))
        return found

    def query(self, **request: Any) -> Any:
        page = self._client.query(**request)
        self._meter.calls["DynamoDB query"] += 1
        size = sum(map(item_size, page["Items"]))
        self._meter.read(size, consistent=request.get("ConsistentRead", False))
        return page

    def _wrote(self, operation: str, request: dict[str, Any], key: dict[str, Any]) -> Any:
        response = getattr(self._client, operation)(**request)
        self._meter.calls[f"DynamoDB {operation}"] += 1
        self._bill(request["TableName"], key, times=1, indexed=True)
        return response

    def _bill(self, table: str, key: dict[str, Any], *, times: int, indexed: bool) -> None:
        size, item = self._size(table, key)
        self._meter.write(size, times=times)
        for attribute in self._indexes.get(table, {}).values() if indexed else ():
            if attribute in item:
                self._meter.write(size)

    def _size(self, table: str, key: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        item = self._client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        return item_size(item), item

    def stored(self, table: str) -> int:
        """Bytes of a table's items."""
        pages = self._client.get_paginator("scan").paginate(TableName=table)
        return sum(item_size(item) for page in pages for item in page["Items"])


def item_size(item: dict[str, Any]) -> int:
    """As DynamoDB counts it: names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: dict[str, Any]) -> int:
    ((kind, inner),) = value.items()
    if kind in ("S", "B"):
        return len(inner.encode() if kind == "S" else bytes(inner))
    if kind in ("M", "L"):
        whole = item_size(inner) if kind == "M" else sum(map(_value_size, inner))
        return 3 + whole + len(inner)
    if kind in ("SS", "NS", "BS"):
        return sum(_value_size({kind[0]: one}) for one in inner)
    if kind == "N":
        return len(inner.lstrip("-").replace(".", "")) // 2 + 2
    return 1


def _key(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("pk", "sk")}


def metered(session: boto3.Session, meter: Meter) -> tuple[MeteredS3, MeteredDynamoDb]:
    """Inside ``mock_aws``: a bucket named ``bucket``, tables ``jobs`` and ``charges``."""
    s3, dynamodb = session.client("s3"), session.client("dynamodb")
    s3.create_bucket(Bucket="bucket")
    indexes = {
        "jobs": {"open": "open", "by_time": "month"},
        "charges": {"by_model": "of_model", "by_recipe": "of_recipe"},
    }
    ranges = {"open": "sk_time", "by_time": "job_id", "by_model": "day", "by_recipe": "day"}
    for table, hashes in indexes.items():
        create_table(dynamodb, table, {index: (hashed, ranges[index]) for index, hashed in hashes.items()})
    return MeteredS3(s3, meter), MeteredDynamoDb(dynamodb, meter, indexes)


def call_at_once() -> None:
    """Adapters call clients in threads, and virtual time would pass meanwhile: here they don't."""

    async def at_once(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    for module in _modules():
        if hasattr(module, "to_thread"):
            module.to_thread = at_once


def _modules() -> Iterable[Any]:
    folders = [
        (f"{aws.__name__}.{name}", importlib.import_module(f"{aws.__name__}.{name}")) for name in ("dynamodb", "s3")
    ]
    names = [
        f"{folder}.{found.name}" for folder, package in folders for found in pkgutil.iter_modules(package.__path__)
    ]
    return [importlib.import_module(name) for name in names]
