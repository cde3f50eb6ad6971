from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.errors import RecordError

AT = "2026-11-22T12:00:00.000Z"


async def claim(registry: Any, body_hash: str = "h", seen: tuple[int, int] | None = None) -> Any:
    return await registry.claim_request("r", "id/1", body_hash=body_hash, owner="a", seen=seen, at=AT)


async def test_the_first_claim_is_ours_and_the_second_is_not(registry: Any) -> None:
    first, ours = await claim(registry)
    assert ours
    assert (first.epoch, first.beat) == (1, 0)
    again, ours = await claim(registry)
    assert not ours
    assert (again.epoch, again.beat) == (1, 0)


async def test_another_body_is_an_error_on_every_path(registry: Any) -> None:
    await claim(registry)
    for seen in (None, (1, 0)):
        with pytest.raises(RecordError) as raised:
            await claim(registry, "other", seen)
        assert raised.value.code == "id_reused"


async def test_an_owner_is_taken_over_only_if_its_beat_stands_still(registry: Any) -> None:
    first, _ = await claim(registry)
    alive = await registry.beat_request("r", "id/1", first)
    assert not (await claim(registry, seen=(1, 0)))[1]
    second, ours = await claim(registry, seen=(1, alive.beat))
    assert ours
    assert (second.epoch, second.crashes) == (2, 1)
    assert await registry.beat_request("r", "id/1", alive) is None


async def test_a_released_claim_is_free(registry: Any) -> None:
    first, _ = await claim(registry)
    assert await registry.release_request("r", "id/1", first)
    second, ours = await claim(registry)
    assert ours
    assert (second.epoch, second.crashes) == (2, 0)
    assert not await registry.release_request("r", "id/1", first)
