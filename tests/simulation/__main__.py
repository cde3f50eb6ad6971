"""``python -m tests.simulation SEEDS FROM``: many seeds; ``--trace SEED``: one, step by step."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.run import Report, simulate
from tests.simulation.scenario import UNMENDED

EVERY_S = 5.0


def main() -> int:
    """Not 0 where an invariant broke."""
    arguments = _arguments()
    overlooked = UNMENDED - set(UNMENDED if "all" in arguments.also else arguments.also)
    if arguments.trace is not None:
        return _show(simulate(arguments.trace, traced=True, overlooked=overlooked))
    failed, totals, since = 0, Counter[str](), time.monotonic()
    for seed in range(arguments.start, arguments.start + arguments.seeds):
        report = simulate(seed, overlooked=overlooked)
        totals.update(seeds=1, crashes=report.crashes, calls=report.calls, steps=report.steps)
        if report.broken:
            failed += 1
            sys.stderr.write(told(report))
        if time.monotonic() - since > EVERY_S:
            since = time.monotonic()
            sys.stderr.write(f"{counted(totals)}, {failed} failed\n")
    sys.stdout.write(f"{counted(totals)}, {failed} failed\n")
    return int(failed > 0)


def counted(totals: Counter[str]) -> str:
    return ", ".join(f"{totals[name]:,} {name}" for name in ("seeds", "crashes", "calls", "steps"))


def told(report: Report) -> str:
    """Say what broke, and how to see it again."""
    lines = [f"seed {report.seed}:", *report.broken[:5]]
    return "\n  ".join([*lines, f"replay: python -m tests.simulation --trace {report.seed}"]) + "\n"


def _show(report: Report) -> int:
    lines = [*report.trace, "", f"faults {report.faults}, {report.crashes} crashes, {report.calls} calls"]
    sys.stdout.write("\n".join(lines) + "\n" + told(report))
    return int(bool(report.broken))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=2_000)
    parser.add_argument("start", type=int, nargs="?", default=0)
    parser.add_argument("--trace", type=int, metavar="SEED")
    parser.add_argument("--with", dest="also", action="append", default=[], metavar="NAME", help="of UNMENDED, or all")
    return parser.parse_args()


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # so that sets of texts are in the same order at every replay
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main())
