"""The evaluator, on rules of the IAM User Guide and beside the matcher of another project."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from tests.iam.policies import Request, is_allowed, matches, read_statements

BUCKET = "arn:aws:s3:::data"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/inbox/*"}


def statements(*found: dict[str, Any]) -> list[Any]:
    return read_statements({"Version": "2012-10-17", "Statement": list(found)})


def allowed(action: str, resource: str, *identity: dict[str, Any], **context: str) -> bool:
    request = Request(action, resource, frozenset((k.replace("__", ":"), v) for k, v in context.items()))
    return is_allowed(request, "role/f", identity=statements(*identity))


def test_what_nobody_allows_is_denied() -> None:
    assert allowed("s3:GetObject", f"{BUCKET}/inbox/a/b", READ)
    assert not allowed("s3:GetObject", f"{BUCKET}/work/a", READ)
    assert not allowed("s3:PutObject", f"{BUCKET}/inbox/a", READ)
    assert allowed("S3:getobject", f"{BUCKET}/inbox/a", READ), "actions ignore case"
    assert not allowed("s3:GetObject", f"{BUCKET}/Inbox/a", READ), "resources do not"


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    deny = READ | {"Effect": "Deny", "Resource": f"{BUCKET}/inbox/secret/*"}
    assert not allowed("s3:GetObject", f"{BUCKET}/inbox/secret/a", READ, deny)
    request = Request("s3:GetObject", f"{BUCKET}/inbox/secret/a")
    assert not is_allowed(
        request, "role/f", identity=statements(READ), resource=statements(deny | {"Principal": {"AWS": "*"}})
    )


def test_a_resource_allows_the_principals_that_it_names() -> None:
    request = Request("s3:GetObject", f"{BUCKET}/inbox/a")
    grant = statements(READ | {"Principal": {"AWS": "role/f"}})
    assert is_allowed(request, "role/f", identity=(), resource=grant)
    assert not is_allowed(request, "role/g", identity=(), resource=grant)


def test_a_boundary_has_to_allow_as_well() -> None:
    request = Request("s3:GetObject", f"{BUCKET}/inbox/a")
    assert not is_allowed(request, "role/f", identity=statements(READ), boundary=())
    assert is_allowed(request, "role/f", identity=statements(READ), boundary=statements(READ))


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"kms:ViaService": ["s3.x", "sqs.x"]}}, {"kms__ViaService": "sqs.x"}, True),
        ({"StringEquals": {"kms:ViaService": ["s3.x"]}}, {"kms__ViaService": "s3.X"}, False),
        ({"StringEquals": {"kms:ViaService": ["s3.x"]}}, {}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws__SecureTransport": "true"}, False),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3__TlsVersion": "1.1"}, True),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3__TlsVersion": "1.3"}, False),
        ({"Null": {"lambda:SourceFunctionArn": "true"}}, {}, True),
        ({"Null": {"lambda:SourceFunctionArn": "true"}}, {"lambda__SourceFunctionArn": "arn"}, False),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::promptmill-*"}},
            {"aws__SourceArn": "arn:aws:s3:::promptmill-1"},
            True,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, str], *, holds: bool) -> None:
    assert allowed("s3:GetObject", f"{BUCKET}/inbox/a", READ | {"Condition": condition}, **context) is holds


def test_an_operator_or_element_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        allowed("s3:GetObject", f"{BUCKET}/inbox/a", READ | {"Condition": {"DateLessThan": {"aws:CurrentTime": "x"}}})
    with pytest.raises(ValueError, match="NotAction"):
        statements({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})


# No dots: the other matcher takes one for any character.
_PIECES = st.lists(st.sampled_from(["*", "a", "b", "/", ":"]), min_size=1, max_size=6).map("".join)


@given(wildcard=_PIECES, text=_PIECES.map(lambda text: text.replace("*", "a")))
def test_wildcards_match_as_another_project_has_them(wildcard: str, text: str) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/{wildcard}"}
    theirs = IAMPolicyStatement(statement).is_action_permitted("s3:GetObject", f"{BUCKET}/{text}")
    assert matches(f"{BUCKET}/{wildcard}", f"{BUCKET}/{text}") == (theirs is PermissionResult.PERMITTED)
