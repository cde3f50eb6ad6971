"""Why records end without a call."""

from __future__ import annotations

import pytest

from promptmill.domain.record import RawRecord
from promptmill.jobs.stop_run import CANCELLED, describe_stop, make_stop_failure

RECORD = RawRecord(4, 12, b'{"prompt": "a secret"}')
OF_A_RUN = [CANCELLED, "budget_spent", "day_spent", "gave_up"]


@pytest.mark.parametrize("code", [*OF_A_RUN, "worker_crashed", "a_code_of_later"])
def test_every_reason_names_the_line_and_what_to_do_and_not_what_the_line_says(code: str) -> None:
    failure = make_stop_failure(RECORD, code)
    assert failure.code == code
    assert failure.message.startswith("line 12: ")
    assert "secret" not in failure.message
    assert "esume" in failure.message or code == CANCELLED


def test_only_a_crash_is_no_stop() -> None:
    assert {make_stop_failure(RECORD, code).kind for code in OF_A_RUN} == {"stopped"}
    assert make_stop_failure(RECORD, "worker_crashed").kind == "worker"


def test_a_run_that_ended_early_says_why() -> None:
    assert all(describe_stop(code) for code in OF_A_RUN)
    assert len({describe_stop(code) for code in OF_A_RUN}) == len(OF_A_RUN)
    assert describe_stop("worker_crashed") == describe_stop("invalid_json") == ""
