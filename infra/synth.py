"""Synthesise a stage in this process, without npm: ``python -m infra.synth local``.

The result lies in ``build/cdk.out-<deployment>`` and is made again only when something that it is made of has changed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from infra.assets import FUNCTIONS, ROOT, built_assets, layer_path, layers_of, one_at_a_time, target_name
from infra.remember import read_arguments, remembered_values
from infra.stages import StageValues
from promptmill.domain.errors import SettingsError


def synthesise(values: StageValues) -> Path:
    """Synthesise a stage, and return the folder with ``<stack>.template.json``, ``<stack>.assets.json`` and the assets.

    Raises:
        SettingsError: the layers are not built.
    """
    with one_at_a_time(f"synth-{values.deployment}"):
        return _synthesised(values)


def _synthesised(values: StageValues) -> Path:
    out = ROOT / "build" / f"cdk.out-{values.deployment}"
    stamp, digest = out.with_name(f"{out.name}.sha256"), _digest(values)
    if out.is_dir() and stamp.exists() and stamp.read_text() == digest:
        return out
    stamp.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    _synthesise(values, out)
    stamp.write_text(digest)
    return out


def _synthesise(values: StageValues, out: Path) -> None:
    import aws_cdk as cdk  # noqa: PLC0415  seconds, which a cached result does not need

    from infra.app import add_stack, cdk_context  # noqa: PLC0415  likewise

    app = cdk.App(outdir=str(out), context=cdk_context(), analytics_reporting=False)
    add_stack(app, values)
    app.synth()


def _digest(values: StageValues) -> str:
    digest = hashlib.sha256(repr((values, built_assets(values), version("aws-cdk-lib"))).encode())
    for path in _sources(values):
        digest.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _sources(values: StageValues) -> Iterator[Path]:
    """Return what the template is made of. The layers stand for the package, since the core layer holds all of it."""
    yield ROOT / "cdk.json"
    yield from (layer_path(layer, target_name(values.stage)).with_suffix(".sha256") for layer in layers_of(values))
    for folder in (ROOT / "infra", FUNCTIONS):
        yield from sorted(folder.rglob("*.py"))


def main() -> int:
    try:
        out = synthesise(remembered_values(*read_arguments(__doc__)))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{out.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
