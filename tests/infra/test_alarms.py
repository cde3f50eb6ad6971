"""Alarms look at what is really sent, and send people to a section that says what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.assets import FUNCTIONS, ROOT
from infra.constructs.alarms import RUNBOOK
from tests.infra.draw_dashboard import draw, made_up_day, series_of
from tests.infra.templates import StageTemplate, dashboard_body


def test_every_alarm_names_a_section_of_the_runbook_that_says_what_to_do(template: StageTemplate) -> None:
    sections = _sections()
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        text, anchor = re.fullmatch(rf"(.+\.) What to do: {RUNBOOK}#([a-z-]+)", alarm["AlarmDescription"]).groups()  # type: ignore[union-attr]
        assert len(text.split()) >= 4
        assert "\n1. " in sections[anchor], f"{anchor} says nothing to do"


def test_every_section_is_named_by_an_alarm_and_listed(custom: StageTemplate) -> None:
    alarms = custom.of_type("AWS::CloudWatch::Alarm").values()
    named = {alarm["AlarmDescription"].rpartition("#")[2] for alarm in alarms}
    assert named == set(_sections())
    listed = re.findall(r"^\| (.+?) \| \[[^\]]+\]\(#([a-z-]+)\) \|$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)
    patterns = {p.strip("`"): anchor for cell, anchor in listed for p in cell.split(", ")}
    for alarm in alarms:
        name, anchor = alarm["AlarmName"].removeprefix("promptmill-prod-"), alarm["AlarmDescription"].rpartition("#")[2]
        found = {a for p, a in patterns.items() if p == name or (p[0] == "*" and name.endswith(p[1:]))}
        assert anchor in found, f"{name} is not in the table of the runbook"


def test_our_own_metrics_in_alarms_and_on_the_dashboard_are_sent_by_the_code(dev: StageTemplate) -> None:
    sent = set(_sent())
    alarms = dev.of_type("AWS::CloudWatch::Alarm").values()
    looked_at = {(a["Dimensions"][0]["Value"], a["MetricName"]) for a in alarms if a["Namespace"] == "Promptmill/dev"}
    assert len(looked_at) == 9
    shown = {
        (metric[3], metric[1])
        for widget in dashboard_body(dev)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[0] == "Promptmill/dev"
    }
    assert len(shown) >= 15
    assert looked_at | shown <= sent


def test_no_metric_has_a_dimension_that_grows(dev: StageTemplate) -> None:
    """A job's id in a dimension would be a metric of its own, at $0.30 a month."""
    sources = [path.read_text() for path in (*FUNCTIONS.rglob("*.py"), *(ROOT / "layers/core").rglob("*.py"))]
    assert not [
        s for s in sources if "add_dimension" in s or "set_default_dimensions" in s or "log_metrics(default" in s
    ]
    assert {service for service, _ in _sent()} <= {"deployment"} | {
        p.parent.name for p in FUNCTIONS.glob("*/handler.py")
    }
    assert dev.values.deployment == "dev"


def test_the_dashboard_shows_every_queue(template: StageTemplate) -> None:
    widgets = {widget["properties"]["title"]: widget["properties"] for widget in dashboard_body(template)["widgets"]}
    queues = {f"<{name}.QueueName>" for name in template.of_type("AWS::SQS::Queue")}
    shown = {
        part
        for title in ("Messages waiting", "Oldest message, s", "Dead letters")
        for metric in widgets[title]["metrics"]
        for part in metric
        if str(part).startswith("<Queues")
    }
    assert {name.partition(".")[0].strip("<>") for name in shown} == {
        name.partition(".")[0].strip("<>") for name in queues
    }


def test_the_dashboard_is_drawn_with_every_line(dev: StageTemplate) -> None:
    body = dashboard_body(dev)
    picture = draw(body, made_up_day, title="dev")
    lines = [series for widget in body["widgets"] for series in series_of(widget)]
    assert len(body["widgets"]) == 12
    assert picture.count("<polyline") == len(lines)
    assert "cap: $10" in picture
    assert "(none)" not in picture
    assert {widget["x"] + widget["width"] for widget in body["widgets"]} == {8, 16, 24}


def _sent() -> Iterator[tuple[str, str]]:
    """Return (service, metric) of every metric that the handlers add. A name may hold a verdict."""
    verdicts = ("Done", "Stopped", "Cancelled", "Rejected", "Answered")
    for path in FUNCTIONS.glob("*/handler.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                service = {"add_metric": path.parent.name, "count": "deployment"}.get(call.func.attr)
                for verdict in verdicts if service else ():
                    yield str(service), _text(call.args[0], verdict)
    for name in ("AwsThrottles", "KmsThrottles"):
        assert f'"{name}"' in (ROOT / "layers/core/python/promptmill/aws/metrics.py").read_text()
        yield "deployment", name


def _text(name: ast.expr, verdict: str) -> str:
    if isinstance(name, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else verdict for part in name.values)
    return str(ast.literal_eval(name))


def _sections() -> dict[str, str]:
    parts = (ROOT / RUNBOOK).read_text().split("\n## ")[1:]
    return {part.partition("\n")[0].lower().replace(" ", "-"): part for part in parts}
