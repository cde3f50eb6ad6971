"""A request of one API as another API can carry it.

What has a counterpart there is translated. What only hints is left out with a note, or refused where the recipe says so:
seeds, identities, cache marks. What would change the answer stays where it is, and the writer of that API refuses it.
Conversations whose form the API would refuse are mended, even those of its own format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, structs

from promptmill.domain.completion import (
    CompletionRequest,
    WireFormat,
)
from promptmill.wire.translation.conversation import translate_conversation
from promptmill.wire.translation.fields import translate_fields, write_said
from promptmill.wire.translation.mend import MENDED, mend_conversation
from promptmill.wire.translation.work import Translation

_WITHOUT_SEED: frozenset[WireFormat] = frozenset(
    (
        *(
            "openai-responses",
            "openai-embeddings",
            "openai-moderations",
            "anthropic-messages",
            "bedrock-converse",
            "bedrock-invoke",
        ),
        *("vertex-embeddings", "nlpcloud"),
    )
)


class Translated(Struct, frozen=True):
    """A request as its API takes it, and what was left out or put elsewhere."""

    request: CompletionRequest
    notes: tuple[str, ...]


def translate(
    request: CompletionRequest, target: WireFormat, *, model: str = "", lacks: Iterable[str] = ()
) -> CompletionRequest:
    """Return the request for another API; see ``translate_with_notes``."""
    return translate_with_notes(request, target, model=model, lacks=lacks).request


def translate_with_notes(
    request: CompletionRequest, target: WireFormat, *, model: str = "", lacks: Iterable[str] = ()
) -> Translated:
    """Return the request for another API, with notes.

    Args:
        request: of any API.
        target: the API of the route.
        model: the route's, on which the names of some fields depend.
        lacks: fields of the API that the provider does not know.

    Raises:
        RecordError: a hint has no place there, and the recipe refuses that.
    """
    work = Translation(request, target, model)
    changes: dict[str, Any] = {}
    if request.seed is not None and (target in _WITHOUT_SEED or "seed" in lacks):
        work.drop("seed")
        changes["seed"] = None
    if request.wire_format not in (target, ""):
        changes |= translate_fields(work)
        changes |= translate_conversation(work)
        changes["wire_format"] = target if not work.left else request.wire_format
        changes["native"] = work.left or write_said(work, changes)
    if target in MENDED:
        changes = mend_conversation(work, changes)
    if not changes:
        return Translated(request, ())
    return Translated(structs.replace(request, **changes), tuple(work.notes))
