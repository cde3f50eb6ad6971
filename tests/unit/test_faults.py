from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from promptmill.domain.errors import RecordError, fault_of


def fail(error: BaseException) -> None:
    raise error


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        fail(error)
    return caught.value


def test_what_and_where_but_not_the_message() -> None:
    fault = fault_of(raised(ValueError("kanarienvogel")))
    assert fault["error"] == "ValueError"
    assert "test_faults.py" in str(fault["at"])
    assert "kanarienvogel" not in str(fault)


def test_codes_are_told() -> None:
    assert fault_of(RecordError("x", code="bad"))["code"] == "bad"
    assert fault_of(ClientError({"Error": {"Code": "Throttled", "Message": "x"}}, "Put"))["code"] == "Throttled"


def test_a_group_is_described_by_its_first_error() -> None:
    group = ExceptionGroup("g", [ExceptionGroup("h", [KeyError("kanarienvogel")])])
    assert fault_of(group)["error"] == "KeyError"
