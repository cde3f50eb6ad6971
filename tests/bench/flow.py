"""The flow control's scenarios: ``python -m tests.bench.flow [SCENARIO …] [--seed N] [--scale 0.1]``.

The real ``SharedPacing`` and windows run on a fake clock, against a provider with token buckets and limit groups in
memory. Figures are of a simulation: compare columns, not decimals. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.bench.flow_scenarios import SCENARIOS, Figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=int, metavar="SCENARIO", help="1 to 14; all of them if none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of records")
    options = parser.parse_args()
    missed = 0
    for number in options.scenarios or range(1, len(SCENARIOS) + 1):
        scenario, started = SCENARIOS[number - 1], time.process_time()
        print(f"\n{scenario.__doc__}")
        for figure in scenario(options.seed, options.scale):
            print(line(figure), flush=True)
            missed += not figure.good
        print(f"   ({time.process_time() - started:.0f} s of CPU)")
    print(f"\n{missed} targets missed, seed {options.seed}")
    return 1 if missed else 0


def line(figure: Figure) -> str:
    bound = ">=" if figure.least else "<="
    value, target = (
        f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}" for number in (figure.value, figure.target)
    )
    return f"   {figure.name:<52} {value:>10}  {bound} {target:<8} {'ok' if figure.good else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
