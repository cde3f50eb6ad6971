"""Remember the values of a stage, so that a later deployment changes none by surprise: ``python -m infra.remember prod``.

They lie in ``infra/values/<deployment>.json``, which belongs into version control. A deployed stack carries those that it
was made with in its template, and they are compared before it is deployed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from infra.assets import ROOT
from infra.stages import StageValues, given_pairs, stage_values
from promptmill.domain.errors import SettingsError
from promptmill.settings import DEAD_LETTERS, STAGES, Stage, deployment_name

METADATA = "Promptmill"
"""The key of the template's metadata under which its values stand."""
_NOT_REMEMBERED = frozenset({"stage", "name"})
"""They choose the file."""

ReadTemplate = Callable[[str], "dict[str, Any] | None"]
"""Returns the template of a deployed stack, None if there is none or it cannot be read."""

CountMessages = Callable[[str], "int | None"]
"""Returns how many messages a queue holds, None if nobody may look."""


def values_file(stage: str, name: str = "") -> Path:
    return ROOT / "infra" / "values" / f"{deployment_name(stage, name)}.json"


def remembered(stage: str, name: str = "") -> dict[str, object]:
    """Return the values that were remembered for a deployment.

    Raises:
        SettingsError: the file is not a JSON object.
    """
    path = values_file(stage, name)
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path.relative_to(ROOT)} is not a JSON object: {error}",
            code="value_malformed",
            where=stage,
            remedy="correct it, or delete it and give the values again",
        ) from error


def remembered_values(stage: str | None, given: Mapping[str, object] | None = None) -> StageValues:
    """Return the values of a stage: those given now, then those remembered, then the stage's own.

    Raises:
        SettingsError: as ``stage_values``.
    """
    overrides = dict(given or {})
    if stage not in STAGES:
        return stage_values(stage, overrides)
    return stage_values(stage, remembered(stage, str(overrides.get("name", ""))) | overrides)


def own_values(values: StageValues) -> dict[str, object]:
    """Return what differs from the stage's own values, as plain JSON."""
    default = _plain(stage_values(values.stage))
    plain = _plain(values)
    return {n: value for n, value in sorted(plain.items()) if value != default[n] and n not in _NOT_REMEMBERED}


def metadata_of(values: StageValues) -> dict[str, object]:
    """Return what the template says of its values."""
    return {METADATA: {"Values": own_values(values)}}


def not_remembered(values: StageValues) -> list[str]:
    """Return the names of values that a deployment without them would change back."""
    stored = own_values(remembered_values(values.stage, {"name": values.name}))
    now = own_values(values)
    return [name for name in sorted(now.keys() | stored.keys()) if now.get(name) != stored.get(name)]


def surprises(values: StageValues, template: Mapping[str, Any] | None) -> list[str]:
    """Return a line for each value with which the stack was deployed, and which neither was given nor is remembered."""
    deployed = _values_before(template or {}) | _values_in(template or {})
    plain = _plain(values)
    known = remembered(values.stage, values.name)
    lost = [name for name in sorted(deployed) if name in plain and name not in known and deployed[name] != plain[name]]
    return [f"{name}: {_text(deployed[name])} would become {_text(plain[name])}" for name in lost]


def _values_in(template: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = (template.get("Metadata") or {}).get(METADATA, {}).get("Values", {})
    return found


def _values_before(template: Mapping[str, Any]) -> dict[str, object]:
    """Return what a stack of an earlier version has without saying so: its secrets lay under one prefix for all deployments."""
    is_earlier = bool(template) and "SecretPrefix" not in template.get("Outputs", {})
    return {"secret_prefix": "promptmill/"} if is_earlier else {}


def _refuse_to_delete_messages(values: StageValues, template: Mapping[str, Any], count_messages: CountMessages) -> None:
    """Raise SettingsError if a recipe's queue that the deployment would delete holds messages."""
    deployed = _values_in(template).get("recipe_queues", [])
    recipes = (
        [recipe for recipe in deployed if recipe not in values.recipe_queues] if isinstance(deployed, list) else []
    )
    works = [f"{values.stack_name}-{recipe}-requests" for recipe in recipes]
    held = {queue: count_messages(queue) for work in works for queue in (work, f"{work}{DEAD_LETTERS}")}
    wrong = [
        f"nobody could look into {queue}" if count is None else f"{queue} holds {count} messages"
        for queue, count in held.items()
        if count != 0
    ]
    if wrong:
        raise SettingsError(
            f"recipe_queues: the deployment would delete queues with what is in them: {'; '.join(wrong)}",
            code="queue_not_empty",
            where=values.stage,
            remedy="stop the publishers of these recipes, and deploy again once their queues and dead letters are empty",
        )


def remember(
    stage: str,
    given: Mapping[str, object],
    *,
    read_template: ReadTemplate,
    count_messages: CountMessages = lambda _queue: 0,
) -> list[str]:
    """Write the values that were given beside those remembered before. Return what to tell the person.

    Raises:
        SettingsError: a value does not fit, the deployed stack has values that nobody gave or remembered, or a queue that the
            deployment would delete holds messages.
    """
    values = remembered_values(stage, given)
    kept = {name: value for name, value in given.items() if name not in _NOT_REMEMBERED}
    plain = _plain(values)
    stored = remembered(stage, values.name) | {name: plain[name] for name in kept}
    template = read_template(values.stack_name)
    lost = [line for line in surprises(values, template) if line.partition(":")[0] not in kept]
    if lost:
        raise SettingsError(
            f"the deployed stack {values.stack_name} has values that are not remembered here: {'; '.join(lost)}",
            code="values_forgotten",
            where=stage,
            remedy='give each of them once, as it is or as it shall be: CONTEXT="name=value"',
        )
    _refuse_to_delete_messages(values, template or {}, count_messages)
    path = values_file(stage, values.name)
    if not kept or stored == remembered(stage, values.name):
        return []
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(stored, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return [f"{path.relative_to(ROOT)} remembers {', '.join(sorted(kept))}: commit it"]


def _plain(values: StageValues) -> dict[str, object]:
    """Return the values as JSON knows them, where a tuple is a list."""
    return msgspec.json.decode(msgspec.json.encode(values), type=dict[str, object])


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _deployed_template(stack: str) -> dict[str, Any] | None:
    import boto3  # noqa: PLC0415  half a second, which synthesis does not need
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  likewise

    try:
        found = boto3.Session().client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    except (BotoCoreError, ClientError) as error:
        if "does not exist" not in str(error):
            sys.stderr.write(f"the deployed values of {stack} were not compared: {error}\n")
        return None
    return found if isinstance(found, dict) else None


_COUNTS = tuple(f"ApproximateNumberOfMessages{of}" for of in ("", "NotVisible", "Delayed"))


def _count_messages(queue: str) -> int | None:
    import boto3  # noqa: PLC0415  as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  likewise

    sqs: Any = boto3.Session().client("sqs")
    try:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
    except sqs.exceptions.QueueDoesNotExist:
        return 0
    except (BotoCoreError, ClientError):
        return None
    return sum(int(found[name]) for name in _COUNTS)


def read_arguments(description: str | None) -> tuple[Stage, dict[str, object]]:
    """Return the stage and the values that were typed: ``STAGE -c NAME=VALUE``.

    Raises:
        SettingsError: a value does not fit.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="NAME=VALUE", help="see infra/stages.py"
    )
    given = parser.parse_args()
    stage: Stage = given.stage
    return stage, dict(given_pairs(stage, given.context))


def main() -> int:
    try:
        stage, given = read_arguments(__doc__)
        told = remember(stage, given, read_template=_deployed_template, count_messages=_count_messages)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
