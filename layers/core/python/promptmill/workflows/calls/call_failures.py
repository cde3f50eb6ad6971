"""Why a record has no answer, from why each of its routes gave none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from promptmill.domain.record import Failure


class Reason(Struct, frozen=True):
    """Of one route.

    Attributes:
        kind: ``exhausted``: its tries are used up; ``fault``: a fault of ours;
            ``refused``: by the provider; ``unsupported``: by us, before sending; ``closed``: for every record.
    """

    route: str
    kind: Literal["exhausted", "fault", "refused", "unsupported", "closed"]
    code: str
    detail: str = ""
    field: str = ""


def failure_of(reasons: Sequence[Reason]) -> Failure:
    """The failure of a record that no route answered; it names every route.

    What may still work later outweighs what will not: a record is at fault only if every open route refused it.
    """
    said = "; ".join(f"{r.route}: {r.code}{f' ({r.detail})' if r.detail else ''}" for r in reasons)
    for kind in ("exhausted", "fault", "refused", "unsupported"):
        first = next((reason for reason in reasons if reason.kind == kind), None)
        if first is not None:
            return Failure(_KINDS[first.kind], first.code, said, first.field)
    return Failure("stopped", "routes_closed", f"every route is closed: {said}" if said else "there is no route")


_KINDS: dict[str, Literal["record", "provider", "worker"]] = {
    "exhausted": "provider",
    "fault": "worker",
    "refused": "record",
    "unsupported": "record",
}
