from __future__ import annotations

import pytest

import infra  # noqa: F401  names the Node.js to use, before the CDK starts one
from tests.infra.templates import STAGES, StageTemplate, synthesise


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StageTemplate]:
    return {stage: synthesise(stage, tmp_path_factory.mktemp(stage)) for stage in STAGES}


@pytest.fixture(params=list(STAGES))
def template(request: pytest.FixtureRequest, templates: dict[str, StageTemplate]) -> StageTemplate:
    return templates[request.param]


@pytest.fixture(scope="session")
def dev(templates: dict[str, StageTemplate]) -> StageTemplate:
    return templates["dev"]


@pytest.fixture(scope="session")
def custom(templates: dict[str, StageTemplate]) -> StageTemplate:
    return templates["custom"]
