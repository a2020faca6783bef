"""The dashboard and the alert rules in `deploy/` fit the metrics that there are."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.health_samples import EXPECTED, NOW, WELL, agent

from mas_cli.command_table import COMMANDS
from mas_core.ops.health.findings import judge
from mas_core.ops.health.metrics import metric_samples
from mas_core.runner.runner_status import RunnerStatus

DEPLOY = Path(__file__).parents[4] / "deploy"
NAME = re.compile(r"\bmas_[a-z_]+")


@pytest.fixture(scope="module")
def exported():
    """Name of each metric -> its labels, of a system that has one of everything."""
    runner = RunnerStatus("run-1", NOW, NOW, "host", 3)
    seen = replace(WELL, agents=(agent(),), runners=(runner,))
    return {
        sample.name: {*sample.labels, "job", "instance"}
        for sample in metric_samples(judge(seen, EXPECTED), seen)
    }


def dashboard():
    return json.loads((DEPLOY / "grafana-dashboard.json").read_text())


def rules():
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return group["rules"]


def queries():
    """Every expression of both files."""
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in rules())]


def test_every_metric_that_they_name_is_exported(exported):
    """A metric that is renamed takes the files along."""
    named = {name for text in queries() for name in NAME.findall(text)}
    named |= {name for item in dashboard()["templating"]["list"] for name in NAME.findall(item["query"])}

    assert named <= exported.keys()
    assert len(named) > 15


def test_every_metric_is_shown(exported):
    """None that is collected is nowhere on the dashboard."""
    shown = {
        name
        for panel in dashboard()["panels"]
        for item in panel["targets"]
        for name in NAME.findall(item["expr"])
    }

    assert exported.keys() <= shown


@pytest.mark.parametrize("text", queries())
def test_labels_that_they_group_by_are_those_of_the_metrics(exported, text):
    """Brackets close, and whoever groups by a label has it."""
    labels = {name for metric in NAME.findall(text) for name in exported[metric]}
    grouped = {part.strip() for found in re.findall(r"by \(([^)]*)\)", text) for part in found.split(",")}
    selected = set(re.findall(r"[{,](\w+)=", text))

    assert text.count("(") == text.count(")")
    assert grouped | selected <= labels


def test_alerts_say_what_to_type():
    """Each has a summary, a severity, and a command that exists."""
    names = {command.name for command in COMMANDS}
    alerts = [rule["alert"] for rule in rules()]

    assert len(alerts) == len(set(alerts))
    for rule in rules():
        words = rule["annotations"]["fix"].split()
        assert any(" ".join(words[1:end]) in names for end in range(2, len(words) + 1)), rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_panels_do_not_overlap():
    """On the grid of 24 columns."""
    taken = [
        (x, y)
        for panel in dashboard()["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
