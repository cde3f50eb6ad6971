"""Nothing that a file, a recipe or a provider says steers a terminal, or forges a line of what a command prints."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill.cli.output import Output, printable
from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import RecipeError, RouteClosedError, UserError
from promptmill.recipes.recipe_document import parse_recipe
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.cli.fake_target import FakeTarget, typed

EVIL = ("\x1b[2J", "\x1b]0;own\x07", "\x9b31m", "\x7f", "\u202e", "\u2066", "\x00", "\r", "\u2028")
STEERS = frozenset("".join(EVIL)) - frozenset("[2J]0;own31m")
FORGED = "\nDONE: 100 answered"
NASTY = "".join(EVIL) + FORGED


@pytest.mark.parametrize("evil", EVIL)
def test_texts_for_people_show_it_and_json_keeps_it_as_an_escape(evil: str) -> None:
    assert not set(evil) & set(printable(f"a{evil}b")) & STEERS
    file = io.StringIO()
    Output(as_json=True, file=file).document({"name": evil})
    assert evil[0] not in file.getvalue()
    assert json.loads(file.getvalue()) == {"name": evil}
    error = UserError(f"a{evil}", code="c", where=evil, remedy=evil)
    assert evil[0] not in error.message


def test_a_recipe_with_escapes_in_its_keys_is_refused_in_plain_text() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe("r", '"\\e[2J\\e]0;own\\a": 1\n', stage="prod")
    assert "\x1b" not in caught.value.message


@pytest.fixture
def target() -> FakeTarget:
    """A deployment that has met nasty names: of files, recipes, models, and in what a provider says."""
    answer = Completion(f"x{NASTY}", "stop", Usage(21, output_total=9), raw_finish="stop", model=f"m{NASTY}")
    refusal = RouteClosedError(
        "no_access", NASTY, status=403
    )  # codes come from adapters, which let only plain ones through
    mill = Mill(recipe(), recipe("closed", routes=(ROUTE,)), models=FakeModels({ROUTE.id: [answer, refusal]}))
    target = FakeTarget(mill=mill, secrets={"promptmill/openai": "k"})
    for key in (
        f"inbox/r/a{NASTY}.jsonl",
        f"inbox/closed/b{NASTY}.jsonl",
        f"inbox/none{NASTY}/c",
        f"inbox/r/d{NASTY}.xlsx",
    ):
        body = b"PK\x03\x04" + bytes(99) if "xlsx" in key else b'{"prompt": "x"}\n'
        target.services.run(mill.plan(mill.drop(key, body)))
        target.services.run(mill.pump())
    mill.objects.put(f"recipes/x{NASTY}.yaml", b"routes: []")
    return target


def commands(target: FakeTarget, folder: Path) -> Iterator[tuple[str, ...]]:
    file = folder / f"e{NASTY}.jsonl".replace("\x00", "").replace("/", "")
    file.write_bytes(b'{"prompt": "y"}\n')
    broken = folder / f"f{NASTY}.yaml".replace("\x00", "")
    broken.write_bytes(b'"\\e[2J": 1\n')
    nasty = NASTY.replace("\x00", "")
    yield from (("status",), ("status", nasty), ("costs", "--job", nasty), ("costs", "--recipe", "r"))
    yield from (("costs", "--model", ROUTE.id), ("costs", "--day", "today"), ("costs", "--day", nasty))
    yield from (("recipe", "list"), ("recipe", "check", str(broken)), ("recipe", "push", str(broken)))
    yield from (("models",), ("models", "--since", nasty), ("doctor", "r"), ("doctor", nasty), ("providers",))
    yield from (("pause", nasty), ("unpause", nasty), ("cancel", nasty), ("resume", nasty), ("forget", nasty))
    yield from (("results", nasty), ("submit", str(file), "--recipe", "r"), ("submit", str(file), "--recipe", nasty))
    for job_id, _ in list(target.mill.jobs.runs):
        yield from (("status", job_id), ("costs", "--job", job_id), ("cancel", job_id), ("redrive", job_id))
        yield ("results", job_id, "--out", str(folder / "out"))


@pytest.mark.parametrize("mode", [(), ("--json",)], ids=["text", "json"])
def test_no_command_prints_what_steers_a_terminal(target: FakeTarget, tmp_path: Path, mode: tuple[str, ...]) -> None:
    told = 0
    for words in commands(target, tmp_path):
        result = typed(target, *words, *mode)
        shown = result.stdout + result.stderr
        if result.exit_code == 2:  # wrong usage is told by ``main``, which another test starts
            continue
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
        assert not set(shown) & STEERS, words
        assert not any(line.startswith(FORGED[1:]) for line in shown.splitlines()), (words, shown)
        told += FORGED[1:] in shown
    assert told > 5, "the names were seen"


def test_wrong_usage_is_told_in_plain_text() -> None:
    """The name of a file, put there by the shell, is quoted by click."""
    nasty = NASTY.replace("\x00", "")
    for words in (
        ("recipe", "check", f"/none/{nasty}"),
        ("submit", f"/none/{nasty}", "--recipe", "r"),
        (nasty,),
        (f"--{nasty}",),
    ):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("promptmill")), *words], capture_output=True, check=False
        )
        assert done.returncode in (1, 2)
        assert not set((done.stdout + done.stderr).decode()) & STEERS, words


def test_what_the_files_of_a_job_say_for_people_is_plain(target: FakeTarget) -> None:
    """``status.json`` is opened in browsers and editors: JSON escapes controls, and reasons hold none."""
    for job in target.mill.jobs.runs.values():
        status = target.mill.status(job)
        assert not set(status["reason"] + status["remedy"] + status["waits_for"]) & STEERS, status
        assert not set("".join(status["closed_routes"].values())) & STEERS
