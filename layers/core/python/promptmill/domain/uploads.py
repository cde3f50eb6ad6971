"""What S3 says of an upload."""

from __future__ import annotations

from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from promptmill.domain.messages import PlanMessage


class _Object(Struct, rename="camel"):
    key: str
    version_id: str = ""


class _S3(Struct):
    object: _Object


class _Record(Struct, rename="camel"):
    s3: _S3
    event_name: str = ""


class _Notification(Struct, rename="pascal"):
    records: list[_Record] = []  # absent in the test event that S3 sends when a notification is set up


_CREATED, _TAGGED = "ObjectCreated:", "ObjectTagging:Put"
_decoder = msgspec.json.Decoder(_Notification)


def plans_of(body: str) -> list[PlanMessage]:
    """One for each object of a notification, created or tagged; keys come URL-encoded, with ``+`` for a space.

    Raises:
        msgspec.DecodeError: not a notification.
    """
    records = _decoder.decode(body).records
    return [_plan(record) for record in records if record.event_name.startswith((_CREATED, _TAGGED))]


def _plan(record: _Record) -> PlanMessage:
    found, tagged = record.s3.object, record.event_name.startswith(_TAGGED)
    return PlanMessage(unquote_plus(found.key), found.version_id, tagged=tagged)
