"""Import time of each handler beside that of the third-party set that it is allowed: ``python -m tests.bench.cold_start``.

Both in fresh processes, in turn, from compiled files; the ratio of the medians is what counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("plan_job", "run_chunk", "run_requests", "finish_job", "settle_dead_letter", "sweep")
LIMIT = 1.3
ALLOWED = "import aws_lambda_powertools, aws_lambda_powertools.metrics, msgspec, asyncio"
BATCH = (
    "; import aws_lambda_powertools.utilities.batch, aws_lambda_powertools.utilities.data_classes.sqs_event, "
    "aws_lambda_powertools.utilities.typing"
)
_TIMED = "import sys, time; sys.path.insert(0, {path!r}); start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
_ENVIRONMENT = {"PATH": "", "POWERTOOLS_SERVICE_NAME": "f", "POWERTOOLS_METRICS_NAMESPACE": "Promptmill"}


def seconds(code: str, path: Path) -> float:
    """Of an import in a fresh process."""
    timed = [sys.executable, "-c", _TIMED.format(path=str(path), code=code)]
    return float(subprocess.run(timed, check=True, capture_output=True, text=True, env=_ENVIRONMENT).stdout)


def measure(function: str, *, rounds: int) -> tuple[float, float]:
    """Medians of handler and allowed set, in seconds."""
    path = ROOT / "functions" / function
    allowed = ALLOWED if function == "sweep" else ALLOWED + BATCH
    pairs = [(seconds("import handler", path), seconds(allowed, path)) for _ in range(rounds + 1)][1:]
    return statistics.median(own for own, _ in pairs), statistics.median(theirs for _, theirs in pairs)


def main() -> int:
    """Exit status 1 where a handler is over the limit."""
    worst = 0.0
    for function in FUNCTIONS:
        own, theirs = measure(function, rounds=15)
        worst = max(worst, own / theirs)
        print(f"{function:20} {own * 1000:6.0f} ms   allowed set {theirs * 1000:6.0f} ms   ratio {own / theirs:.2f}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
