"""1,000 records in bad weather: see chaos.py. The whole of it is ``make chaos RECORDS=5000``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local.chaos import endure
from tests.local.deployment import Deployment

pytestmark = pytest.mark.emulator
RECORDS = 1_000


def test_throttles_and_an_unruly_provider_cost_no_record_and_no_call_its_entry(
    deployment: Deployment, tmp_path: Path
) -> None:
    endured = endure(deployment, tmp_path, records=RECORDS, seed=1)
    fates = endured.books.requests
    assert all(fates[fate] > RECORDS // 200 for fate in ("throttled", "failing", "reset", "dripping"))
    assert endured.books.never_came == 0, "every call of the ledger was made"
    assert sum(endured.books.calls.values()) == sum(fates.values())
    assert endured.struck["s3 SlowDown"] > 0.2 * endured.requests["s3"]
    throttles = sum(count for fault, count in endured.struck.items() if fault.startswith("dynamodb"))
    assert throttles > 0.2 * endured.requests["dynamodb"]
