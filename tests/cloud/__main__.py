"""A job in a real AWS account: deploy, kill workers, verify, destroy. ``python -m tests.cloud --yes``

THIS HAS NEVER BEEN RUN AGAINST AWS: nobody here had an account. Its steps were tried on the emulator alone.

It takes the credentials and the region of the AWS CLI, and needs a bootstrapped environment and access to the model. It
makes a stack of its own with a cap on the day's spending, and removes it at the end, also after a failure. What stays:
the KMS key, which AWS deletes some days later, and CloudWatch's metrics.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import boto3

from promptmill.cli.local.paths import CLONE
from promptmill.cli.target import AwsTarget, account_target
from promptmill.domain.completion import Usage
from promptmill.domain.job import JobState
from promptmill.domain.money import usd_text
from promptmill.prices.genai import GenaiPriceBook
from promptmill.recipes.recipe_document import parse_recipe
from promptmill.settings import Stage
from promptmill.system_clock import SystemClock
from tests.bench.aws_prices import MONTH_S, USD
from tests.local.deployment import Deployment, unique
from tests.local.prompts import jsonl
from tests.local.reconciled import table

MODEL = "bedrock/amazon.nova-micro-v1:0"
MAX_OUTPUT_TOKENS = 16
MAX_INPUT_TOKENS = 60
"""More than the prompts here have."""
INFRASTRUCTURE_USD_A_RECORD = 0.474e-6
"""``tests.bench.infrastructure`` measured it; a job whose workers are killed needs some of it twice."""
STANDING_HOURS = 1
CAP_USD = "1"
PATIENCE_S = 3_600.0
KILLED_AFTER_S = 4
"""The timeout of run_chunk while workers are killed: Lambda ends each so many seconds after it started."""
KILLING_S = 60.0
_NAME = "cloudtest"
_STAGE: Stage = "dev"
CONTEXT = (f"stage={_STAGE}", f"name={_NAME}", "keep_data=false", f"day_cap_usd={CAP_USD}")


def recipe(model: str) -> str:
    return f"routes: [{{model: {model}}}]\nmax_output_tokens: {MAX_OUTPUT_TOKENS}\nbudget: {{per_job_usd: {CAP_USD}}}\n"


def expected_cost(model: str, records: int) -> str:
    """Say what this will cost at most, by the bundled prices and the benchmark of the infrastructure."""
    (route,) = parse_recipe("cloudtest", recipe(model), stage=_STAGE).routes
    usage = Usage(input_total=MAX_INPUT_TOKENS * records, output_total=MAX_OUTPUT_TOKENS * records)
    tokens = GenaiPriceBook().price(route, usage, model="", at=SystemClock().now()).nano_usd
    monthly = USD["KMS key-month"] + 50 * USD["alarm-month"] + USD["dashboard-month"]
    rest = 2 * records * INFRASTRUCTURE_USD_A_RECORD + monthly * STANDING_HOURS * 3600 / MONTH_S
    said = "an unknown price" if tokens is None else f"${usd_text(tokens)}"
    return f"{said} of tokens ({records:,} records of {model}), ${rest:.3f} of AWS; the cap is ${CAP_USD}"


@contextmanager
def deployed(context: tuple[str, ...]) -> Iterator[AwsTarget]:
    """Yield the stack, and remove it with all that it holds."""
    flags = [word for pair in context for word in ("-c", pair)]
    try:
        _cdk("deploy", *flags, "--require-approval", "never")
        yield account_target(_STAGE, name=_NAME)
    finally:
        _empty_bucket()
        _cdk("destroy", *flags, "--force")


def run(deployment: Deployment, model: str, records: int) -> list[tuple[str, object]]:
    """Run the job, end its workers for a minute, and compare its books. Raises AssertionError where they differ."""
    name = deployment.push(unique("cloudtest"), recipe(model))
    lines = [{"id": n, "prompt": f"Answer with the number {n} and nothing else."} for n in range(records)]
    job_id = deployment.drop(f"inbox/{name}/numbers.jsonl", jsonl(lines))
    since = SystemClock().now()
    killed = kill_workers(deployment)
    job = deployment.wait(job_id, patience_s=PATIENCE_S)
    assert job.state is JobState.DONE, job
    results, attempts = deployment.lines(job, "results"), deployment.lines(job, "attempts")
    assert [line["id"] for line in results] == list(range(records)), "a record was lost, doubled or moved"
    assert len({line["call_id"] for line in attempts}) == len(attempts)
    told = sum(line["nano_usd"] or 0 for line in attempts)
    assert told == deployment.spent(job), "the ledger and attempts.jsonl differ"
    return [
        ("outcomes, in order", len(results)),
        ("answered", job.counts.answered),
        ("workers killed", killed),
        ("calls", len(attempts)),
        ("calls of unknown cost", sum(line["nano_usd"] is None for line in attempts)),
        ("spent", f"${usd_text(told)}"),
        ("Bedrock's own count", bedrock_count(model, since)),
    ]


def kill_workers(deployment: Deployment) -> int:
    """Give run_chunk so little time that Lambda ends every worker, for a minute. Return how many it ended."""
    lambda_ = deployment.services.client("lambda")
    name = f"promptmill-{_NAME}-{_STAGE}-run-chunk"
    timeout = lambda_.get_function_configuration(FunctionName=name)["Timeout"]
    since = SystemClock().now()
    try:
        lambda_.update_function_configuration(FunctionName=name, Timeout=KILLED_AFTER_S)
        time.sleep(KILLING_S)
    finally:
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        lambda_.update_function_configuration(FunctionName=name, Timeout=timeout)
    return int(_metric("AWS/Lambda", "Errors", {"FunctionName": name}, since))


def bedrock_count(model: str, since: datetime) -> str:
    """Say what Bedrock counted of the model in this account since then, whoever called it. It is minutes late."""
    dimensions = {"ModelId": model.partition("/")[2]}
    names = ("Invocations", "InputTokenCount", "OutputTokenCount")
    return ", ".join(f"{_metric('AWS/Bedrock', name, dimensions, since):,.0f} {name}" for name in names)


def _metric(namespace: str, name: str, dimensions: Mapping[str, str], since: datetime) -> float:
    found: Any = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=since - timedelta(minutes=1),
        EndTime=SystemClock().now() + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(float(point["Sum"]) for point in found["Datapoints"])


def _empty_bucket() -> None:
    """Delete every version, since CloudFormation deletes no bucket that holds one."""
    outputs = account_target(_STAGE, name=_NAME).outputs
    boto3.resource("s3").Bucket(outputs["Bucket"]).object_versions.delete()


def _cdk(*words: str) -> None:
    subprocess.run(["npx", "--yes", "aws-cdk@2", *words], cwd=CLONE, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cloud", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--yes", action="store_true", help="spend it")
    given = parser.parse_args()
    sys.stdout.write(f"{__doc__}\nIt costs at most {expected_cost(given.model, given.records)}.\n")
    if not given.yes:
        sys.stdout.write("Nothing was done. Add --yes to do it.\n")
        return 1
    subprocess.run(["make", "layers", f"STAGE={_STAGE}"], cwd=CLONE, check=True)
    with deployed(CONTEXT) as target:
        rows = run(Deployment(target), given.model, given.records)
    sys.stdout.write(f"{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
