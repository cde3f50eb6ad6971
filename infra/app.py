"""The app that ``npx aws-cdk@2 synth -c stage=dev`` runs, and the way for anyone else to get the same one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import aws_cdk as cdk

from infra.assets import ROOT, Assets, built_assets
from infra.remember import not_remembered, remembered_values
from infra.stack import PromptmillStack
from infra.stages import StageValues
from promptmill.domain.errors import SettingsError


def cdk_context() -> dict[str, object]:
    """Return the feature flags in cdk.json, which only the CDK's own command reads by itself."""
    context: dict[str, object] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def add_stack(app: cdk.App, values: StageValues, assets: Assets | None = None) -> PromptmillStack:
    """Raises SettingsError if the layers are not built."""
    return PromptmillStack(app, values=values, assets=assets or built_assets(values))


def own_context(context: Mapping[str, object]) -> dict[str, object]:
    """Return the values that a person gave. The CDK's own names hold a colon, a slash or an @."""
    return {name: value for name, value in context.items() if not any(mark in name for mark in ":/@")}


def main() -> int:
    app = cdk.App(analytics_reporting=False)
    given = own_context(app.node.get_all_context())
    stage = given.pop("stage", None)
    try:
        values = remembered_values(None if stage is None else str(stage), given)
        stack = add_stack(app, values)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if names := not_remembered(values):
        cdk.Annotations.of(stack).add_warning_v2(
            "Promptmill:not-remembered",
            f"{', '.join(names)}: given by -c alone, so a deployment without it changes it back. make deploy remembers it.",
        )
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
