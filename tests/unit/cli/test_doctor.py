"""``promptmill doctor``: each failure with its remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from botocore.exceptions import ClientError
from msgspec import structs

from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.object_store import ObjectInfo
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.price_book import FlatPrices
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json

BEDROCK = Route("bedrock/x", "bedrock", "x", region="us-west-2")


def looked_at(
    *errors: ProviderError, route: Route = ROUTE, secrets: dict[str, str] | None = None
) -> tuple[dict[str, dict[str, Any]], int, list[tuple[str, int | None]]]:
    mill = Mill(recipe(routes=(route,)), models=FakeModels({route.id: errors}))
    mill.objects.put("recipes/r.yaml", b"routes: []")
    target = FakeTarget(mill=mill, secrets={"promptmill/openai": "k"} if secrets is None else secrets)
    document, code = typed_json(target, "doctor", "r")
    return {check["what"]: check for check in document["checks"]}, code, calls_of(mill)


def calls_of(mill: Mill) -> list[tuple[str, int | None]]:
    """Routes called, and the tokens that each call asked for at most."""
    models = mill.models
    assert isinstance(models, FakeModels)
    return [
        (route, request.max_output_tokens) for (route, _), request in zip(models.calls, models.requests, strict=True)
    ]


def test_all_well() -> None:
    checks, code, calls = looked_at()
    assert code == 0
    assert all(check["good"] for check in checks.values())
    assert list(checks) == [
        "stack",
        "bucket",
        "jobs",
        "pauses",
        "concurrency",
        "event sources",
        "s3:GetObject on inbox/ for the functions",
        "s3:PutObject on work/ for the functions",
        "promptmill/openai for the functions",
        "recipe r",
        f"{ROUTE.id} key",
        f"{ROUTE.id} access",
        f"{ROUTE.id} price",
    ]
    assert calls == [(ROUTE.id, 1)]


def test_an_empty_secret_is_found_before_a_job_does() -> None:
    checks, code, calls = looked_at(secrets={"promptmill/openai": " "})
    assert code == 1
    assert "is empty" in checks[f"{ROUTE.id} key"]["found"]
    assert "put-secret-value" in checks[f"{ROUTE.id} key"]["remedy"]
    assert calls == []


def test_a_missing_secret_is_named_and_nothing_is_called() -> None:
    checks, code, calls = looked_at(secrets={})
    assert code == 1
    assert "create-secret --name promptmill/openai" in checks[f"{ROUTE.id} key"]["remedy"]
    assert f"{ROUTE.id} access" not in checks
    assert calls == []


def test_a_wrong_key_a_wrong_model_and_no_access() -> None:
    for error, route, words in (
        (RouteClosedError("invalid_api_key", status=401), ROUTE, "valid key into the secret promptmill/openai"),
        (RouteClosedError("model_not_found", status=404), ROUTE, "check the name of the model: gpt-6-luna"),
        (RouteClosedError("insufficient_quota", status=402), ROUTE, "add credit"),
        (RouteClosedError("AccessDeniedException", status=403), BEDROCK, "Bedrock console"),
        (RetryLaterError("connection"), ROUTE, "try again"),
    ):
        checks, code, _ = looked_at(error, route=route)
        assert code == 1
        assert words in checks[f"{route.id} access"]["remedy"]


def test_a_model_that_refuses_one_token_was_reached() -> None:
    checks, code, _ = looked_at(RecordRefusedError("max_tokens_too_low", status=400))
    assert code == 0
    assert "max_tokens_too_low" in checks[f"{ROUTE.id} access"]["found"]


def test_bedrock_routes_say_their_region() -> None:
    assert looked_at(route=BEDROCK)[0]["bedrock/x region"]["found"] == "us-west-2"
    elsewhere = structs.replace(BEDROCK, region="")
    assert looked_at(route=elsewhere)[0]["bedrock/x region"]["found"] == "eu-central-1 (the region of the deployment)"


class NoPrices(FlatPrices):
    def knows(self, route: Route, *, at: object) -> bool:
        del route, at
        return False


def test_an_unknown_price_is_bad_and_says_how_to_set_one() -> None:
    mill = Mill(recipe())
    mill.prices = NoPrices()
    mill.objects.put("recipes/r.yaml", b"routes: []")
    document, code = typed_json(FakeTarget(mill=mill, secrets={"promptmill/openai": "k"}), "doctor", "r")
    assert code == 1
    assert "input_usd_per_mtok" in document["checks"][-1]["remedy"]


def test_without_a_recipe_no_model_is_called() -> None:
    target = FakeTarget(recipe())
    result = typed(target, "doctor")
    assert result.exit_code == 1
    assert "promptmill recipe push" in result.stdout
    assert calls_of(target.mill) == []


def test_an_unknown_recipe_names_the_nearest() -> None:
    document, code = typed_json(FakeTarget(recipe("reviews")), "doctor", "revews")
    assert code == 1
    assert "reviews" in document["checks"][-1]["found"]


class ClosedBucket(FakeObjectStore):
    def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": prefix}}, "ListObjectsV2")


def test_what_aws_refuses_does_not_keep_the_rest_from_being_looked_at() -> None:
    mill = Mill(recipe())
    mill.objects = ClosedBucket(mill.clock)
    document, code = typed_json(FakeTarget(mill=mill, secrets={"promptmill/openai": "k"}), "doctor", "r")
    checks = {check["what"]: check for check in document["checks"]}
    assert code == 1
    assert "docs/deploy.md" in checks["bucket"]["remedy"]
    assert checks[f"{ROUTE.id} access"]["good"]
