"""Turn DynamoDB items into plain dictionaries, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from promptmill.aws.threads import to_thread

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_serializer, _deserializer = TypeSerializer(), TypeDeserializer()


def to_item(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in DynamoDB's typed JSON, without those that are None."""
    return {name: _typed(value) for name, value in plain.items() if value is not None}


def _typed(value: Any) -> Any:
    """Type one value. Decimals are written without an exponent, so that people can read them and emulators add them up."""
    return {"N": f"{value:f}"} if isinstance(value, Decimal) else _serializer.serialize(value)


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values: whole numbers as int, others as Decimal."""
    return {name: _plain(_deserializer.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else value
    if isinstance(value, set):
        return {_plain(v) for v in value}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def failed_condition(error: ClientError) -> bool:
    """Return True if a write was refused by its own condition."""
    return error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


async def query(client: DynamoDBClient, **request: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield every item of a query, page by page."""
    while True:
        page: Any = await to_thread(client.query, **request)
        for item in page["Items"]:
            yield from_item(item)
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
