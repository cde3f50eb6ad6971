"""``python -m tests.simulation.mutants``: breaks the engine in each of these ways; a story or a seed must notice.

Each break runs in a process of its own: stories first, then seeds. ``--only NAME`` runs one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.breaks import MUTANTS
from tests.simulation.mutation import Breaking, Mutant

SEEDS = 1_000
HERE = Path(__file__).parent
SURVIVED = "SURVIVED"


class Noticed:
    """A pytest plugin that keeps the first failure's name."""

    def __init__(self) -> None:
        self.first = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.first:
            self.first = report.nodeid.partition("simulation/")[2]


def main() -> int:
    """Not 0 where one survives, or where tests fail without any break."""
    arguments = _arguments()
    if arguments.run is not None:
        sys.stdout.write(noticed_by(arguments.run, arguments.seeds) + "\n")
        return 0
    names = [mutant.name for mutant in MUTANTS if arguments.only in mutant.name]
    survivors = [name for name in names if not _is_caught(name, arguments.seeds)]
    sound = bool(arguments.only) or not _is_caught("", 0)
    sys.stdout.write(f"{len(names)} mutants, {len(survivors)} survived{_listed(survivors)}\n")
    if not sound:
        sys.stdout.write("and the stories fail without any break: that shows nothing\n")
    return int(bool(survivors) or not sound)


def noticed_by(name: str, seeds: int) -> str:
    """Which story, or which seed; "" is no break at all."""
    mutant = next((mutant for mutant in MUTANTS if mutant.name == name), Mutant(name, ()))
    Breaking(mutant.changes).install()
    noticed = Noticed()
    stories = sorted(map(str, HERE.glob("test_stories_*.py")))
    sys.stdout, kept = sys.stderr, sys.stdout
    pytest.main(["-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", *stories], plugins=[noticed])
    sys.stdout = kept
    return noticed.first or _seed(seeds)


def _seed(seeds: int) -> str:
    from tests.simulation.run import simulate  # noqa: PLC0415  after the break is laid

    for seed in range(seeds):
        try:
            report = simulate(seed)
        except Exception as error:  # noqa: BLE001  whatever it is: it is noticed
            return f"seed {seed}: {type(error).__name__}"
        if report.broken:
            return f"seed {seed}: {report.broken[0]}"
    return SURVIVED


def _is_caught(name: str, seeds: int) -> bool:
    command = [sys.executable, "-m", "tests.simulation.mutants", "--run", name, "--seeds", str(seeds)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )
    said = done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]
    sys.stdout.write(f"{name or 'no break':<44} {said[:160]}\n")
    sys.stdout.flush()
    return done.returncode == 0 and said != SURVIVED


def _listed(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
