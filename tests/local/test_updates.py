"""The CDK's own command deploys, and a deployment changes under a job: see updates.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from promptmill.aws.cloudformation import CloudFormationStacks
from promptmill.aws.sessions import local_session
from promptmill.cli.local.paths import CLONE
from tests.local.cdk_command import ENVIRONMENT, cdk
from tests.local.stack import bare_emulator
from tests.local.updates import go_through, previous_commit
from tests.local.worker_processes import CAN_FIND

pytestmark = pytest.mark.emulator
RECORDS = 600


@pytest.mark.skipif(not CAN_FIND, reason="finds the worker by /proc")
@pytest.mark.skipif(not (CLONE / ".git").exists(), reason="checks an earlier commit out")
def test_update_in_mid_job_loses_and_doubles_nothing(tmp_path: Path) -> None:
    updated = go_through(tmp_path, records=RECORDS, commit=previous_commit())
    assert updated.books.records == RECORDS


def test_prod_is_bootstrapped_and_deployed_and_deployed_again(tmp_path: Path) -> None:
    subprocess.run(["make", "--no-print-directory", "layers", "STAGE=prod", "CONTEXT="], cwd=CLONE, check=True)
    deploy = ("deploy", "-c", "stage=prod", "--require-approval", "never", "--output", str(tmp_path / "cdk.out"))
    with bare_emulator(tmp_path / "emulator") as state:
        cdk(state.endpoint, "bootstrap", ENVIRONMENT, "-c", "stage=prod", cwd=CLONE)
        cdk(state.endpoint, *deploy, cwd=CLONE)
        stacks = CloudFormationStacks(local_session().client("cloudformation", endpoint_url=state.endpoint))
        outputs = stacks.outputs("promptmill-prod")
        assert outputs is not None
        assert outputs["Stage"] == "prod"
        assert "no changes" in cdk(state.endpoint, *deploy, cwd=CLONE)
