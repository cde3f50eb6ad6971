import pytest
from promptmill.cli.target import local_target
from tests.local.deployment import Deployment


@pytest.fixture(scope="session")
def deployment():
    return Deployment(local_target())
