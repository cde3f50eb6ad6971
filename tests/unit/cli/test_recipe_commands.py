"""``promptmill recipe``."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from tests.unit.cli.fake_target import FakeTarget, typed, typed_json

GOOD = "routes: [{model: openai/gpt-6-luna, key: promptmill/openai}]\n"
BAD = "routes: [{model: openai/gpt-6-luna, key: promptmill/openai}]\nmax_output_token: 5\nredact: {typs: all}\n"
LOCAL = "routes: [{model: local/smollm2-135m}]\n"


def written(folder: Path, **documents: str) -> list[str]:
    for name, text in documents.items():
        (folder / f"{name}.yaml").write_text(text)
    return [str(folder / f"{name}.yaml") for name in documents]


def test_a_check_names_everything_with_its_path(tmp_path: Path) -> None:
    document, code = typed_json(None, "recipe", "check", *written(tmp_path, good=GOOD, bad=BAD))
    faults = document["recipes"]
    assert code == 1
    assert faults[str(tmp_path / "good.yaml")] == []
    assert any("max_output_token" in fault for fault in faults[str(tmp_path / "bad.yaml")])
    assert any("redact.typs" in fault for fault in faults[str(tmp_path / "bad.yaml")])


def test_models_of_the_local_stack_are_for_it_only(tmp_path: Path) -> None:
    files = written(tmp_path, local=LOCAL)
    assert typed(None, "recipe", "check", *files).exit_code == 1
    assert typed(None, "recipe", "check", "--stage", "local", *files).exit_code == 0


def test_the_recipes_of_the_repository_are_good() -> None:
    folder = Path(__file__).parents[3] / "recipes"
    for path in folder.glob("*.yaml"):
        stage = "local" if path.stem == "demo" else "dev"
        assert typed(None, "recipe", "check", "--stage", stage, str(path)).exit_code == 0


def test_push_puts_all_of_them_or_none(tmp_path: Path) -> None:
    target = FakeTarget()
    assert typed(target, "recipe", "push", *written(tmp_path, good=GOOD, bad=BAD)).exit_code == 1
    assert target.mill.objects.keys() == []
    assert typed(target, "recipe", "push", *written(tmp_path, good=GOOD)).exit_code == 0
    assert target.mill.objects.body("recipes/good.yaml") == GOOD.encode()


def test_what_was_pushed_is_listed(tmp_path: Path) -> None:
    target = FakeTarget()
    assert "no recipes yet" in typed(target, "recipe", "list").stdout
    typed(target, "recipe", "push", *written(tmp_path, good=GOOD, another=GOOD))
    assert [r["name"] for r in typed_json(target, "recipe", "list")[0]["recipes"]] == ["another", "good"]


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    assert "must end in .yaml" in typed(None, "recipe", "check", str(tmp_path / "x.json")).stderr
    assert "No such file" in typed(None, "recipe", "check", str(tmp_path / "x.yaml")).stderr


def test_the_limits_of_providers_are_pushed_beside_the_recipes(tmp_path: Path) -> None:
    good = "limits: [{models: openai/gpt-6-luna, requests_per_minute: 600}]\n"
    wrong = "limits: [{models: openai/gpt-6-luna}]\n"
    target = FakeTarget()
    assert typed(target, "recipe", "push", *written(tmp_path, _limits=wrong)).exit_code == 1
    assert typed(target, "recipe", "push", *written(tmp_path, _limits=good)).exit_code == 0
    assert target.mill.objects.body("recipes/_limits.yaml") == good.encode()
    assert typed_json(target, "recipe", "list")[0]["recipes"] == []


def test_push_refuses_secrets_of_other_deployments(tmp_path: Path) -> None:
    target = FakeTarget()
    target.settings = structs.replace(target.settings, secret_prefix="promptmill/search-dev/")
    refused = typed(target, "recipe", "push", *written(tmp_path, old=GOOD))
    assert refused.exit_code == 1
    assert "write `key: openai`" in " ".join(refused.stdout.split())
    assert target.mill.objects.keys() == []
    assert typed(target, "recipe", "push", *written(tmp_path, new=GOOD.replace("promptmill/", ""))).exit_code == 0
