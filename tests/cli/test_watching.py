"""`--watch` of health, status and metrics, and `mas metrics`: what changed, and nothing else."""

import json
import sys
from contextlib import suppress

import pytest
from support.terminal import ANSI, Terminal

from mas_core.ops.health.metrics import MetricSample
from mas_core.ops.health.trends import Trends


@pytest.fixture
def inside(running_project, monkeypatch):
    """In the folder of the running system."""
    monkeypatch.chdir(running_project)
    return running_project


def test_health_writes_what_changes_as_lines(mas_process, inside):
    """All parts at first, then only what is new or gone; Ctrl-C or the reader's end is the end."""
    process = mas_process("health", "--watch=0.1s", "--for", "30s")
    spec = inside / "agents.d" / "absent.yaml"
    try:
        seen = {json.loads(process.stdout.readline())["name"] for _ in range(5)}
        spec.write_text("agent_id: absent\nexec: [cat]\n")
        while (line := json.loads(process.stdout.readline()))["name"] != "agent absent":
            assert line["name"] not in {"store", "profile"}
        spec.unlink()
        while (gone := json.loads(process.stdout.readline()))["name"] != "agent absent":
            pass
    finally:
        with suppress(FileNotFoundError):
            spec.unlink()

    assert {"store", "profile", "partition 0"} <= seen
    assert (line["status"], "gone" in line, gone["gone"]) == ("red", False, True)


@pytest.mark.parametrize(("name", "marked"), [("health", r"agent absent\*"), ("status", r"PROBLEM")])
def test_a_terminal_shows_one_screen_and_marks_what_changed(inside, name, marked):
    """Tables are written over each other, in 80 columns, and what is new has a star."""
    terminal = Terminal(sys.executable, "-m", "mas_cli", name, "--watch=0.2s", "--color=never", columns=80)
    spec = inside / "agents.d" / "absent.yaml"
    try:
        terminal.until("\x1b\\[J")
        spec.write_text("agent_id: absent\nexec: [cat]\n")
        shown = terminal.until(marked)
    finally:
        spec.unlink()
        terminal.type("\x03")
        terminal.rest()
        terminal.process.wait(10)

    lines = ANSI.sub("", shown.replace("\r", "")).splitlines()
    assert "\x1b[2J\x1b[H" in shown
    assert max(map(len, lines)) <= 80
    assert terminal.process.returncode == 130
    assert "looked" in terminal.shown


def test_watching_ends_after_so_many_looks(mas, inside):
    """The exit code is that of the last look; -o csv has one header."""
    health = mas("health", "--watch=0.1s", "--count", "2", "-v")
    status = mas("status", "--watch", "--count", "1", "-o", "json")
    table = mas("metrics", "--watch=0.1s", "--count", "2", "-o", "csv", "--columns", "name,value")

    assert (health.code, "looked 2 times" in health.err) == (0, True)
    assert status.json["profile"] == "fast"
    assert table.out.splitlines()[0] == "name,value"
    assert table.out.count("name,value") == 1


@pytest.mark.parametrize(
    "words", [("--count", "1"), ("--watch=0.01s",), ("--watch=often",), ("--watch", "5s")]
)
def test_what_cannot_be_watched_is_a_usage_error(mas, inside, words):
    """An end without a beginning, a pause that is none, and a value that is not behind the sign."""
    assert mas("health", *words).code == 2


def test_metrics_are_those_of_the_endpoint(mas, inside):
    """Table, JSON and Prometheus have the same series; one agent has its own; a stranger is 6."""
    rows = mas("metrics", "--format", "json").json
    text = mas("metrics", "--format", "prometheus").out
    mine = mas("metrics", "--agent", "calculator", "-o", "json").json

    assert {row["name"] for row in rows} == {
        line.partition("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")
    }
    assert {row["labels"]["agent"] for row in mine} == {"calculator"}
    assert any(row["name"] == "mas_agent_handled_messages_total" and row["counter"] for row in mine)
    assert mas("metrics", "--agent", "nobody").code == 6
    assert mas("metrics", "--format", "prometheus", "--watch").code == 2


def test_trends_are_growth_of_counters_and_averages_of_others():
    """Over the looks of the last minute; a counter that began anew grows from zero."""
    trends, counter = Trends(), MetricSample("c_total", {}, 0, is_counter=True)
    gauge = MetricSample("g", {"a": "b"}, 0, is_counter=False)
    assert trends.over(counter, 60) is None
    for second, (count, level) in {0: (100, 9), 40: (1000, 1), 80: (1100, 3), 100: (10, 5)}.items():
        trends.add(
            second * 1000,
            [MetricSample("c_total", {}, count, True), MetricSample("g", {"a": "b"}, level, False)],
        )

    assert trends.over(counter, 60) == pytest.approx((100 + 10) / 60, abs=1e-5)
    assert trends.over(counter, 300) == pytest.approx((900 + 100 + 10) / 100)
    assert trends.over(gauge, 60) == 3


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        (("status",), "backlog >= `0`"),
        (("health",), "length([?status=='ok']) > `0`"),
        (("metrics",), "[?name=='mas_agent_handled_messages_total']"),
        (("gateway", "status"), "[?state=='serving']"),
        (("agent", "list"), "[?id=='calculator' && status=='running']"),
        (("agent", "describe", "calculator"), "status == 'running'"),
        (("state", "get", "sleeper"), "length(@) == `0`"),
        (("bus", "status", "--agent", "calculator"), "waiting == `0`"),
    ],
)
def test_every_watch_ends_once_an_expression_is_true(mas, inside, words, expression):
    """After the look that makes it true; one that cannot be read is 2, one that never is true goes on."""
    assert mas(*words, "--watch=0.1s", "--until", expression, "--timeout", "20s").code == 0
    assert mas(*words, "--watch=0.1s", "--until", "a >").code == 2
    assert mas(*words, "--watch=0.1s", "--until", "`false`", "--timeout", "0.3s").code == 4


def test_a_stream_ends_once_an_expression_is_true(mas, inside):
    """What --where lets through alone counts; --since begins with what was."""
    for number in ("one", "two", "three"):
        assert mas("send", "calculator", f"where.{number}").code == 0
    seen = (
        "watch",
        "--since",
        "1m",
        "--type",
        "where.*",
        "-o",
        "jsonl",
        "--columns",
        "type",
        "--timeout",
        "20s",
    )

    until = mas(*seen, "--until", "type == 'where.two'")
    where = mas(*seen, "--where", "ends_with(type, 'e')", "--count", "2")
    tail = mas("audit", "tail", "--follow", "--type", "where.*", "--until", "`true`", "--for", "0.2s")

    assert [json.loads(line)["type"] for line in until.out.splitlines()] == ["where.one", "where.two"]
    assert [json.loads(line)["type"] for line in where.out.splitlines()] == ["where.one", "where.three"]
    assert tail.code == 0
    assert mas("watch", "--where", "length(ms)", "--since", "1m", "--count", "1").code == 2
    assert mas("audit", "tail", "--until", "`true`").code == 2


def test_agents_are_chosen_sorted_and_counted(mas, inside):
    """By metadata, by a number from the most on; what is left out is said also with -q."""
    assert mas("agent", "list", "--selector", "zone=eu", "-o", "name").out == "notebook\n"
    first = mas("agent", "list", "--sort", "instances", "--limit", "1", "-q", "-o", "json")

    assert (len(first.json), first.json[0]["instances"]) == (1, 1)
    assert "only 1 of" in first.err
    assert mas("agent", "list", "--sort", "age").code == 2
    assert mas("state", "get", "sleeper", "nothing", "--default", "7").out.split()[-1] == "7"
    assert mas("state", "get", "sleeper", "nothing").code == 6


def test_payloads_are_shown_where_the_policy_has_them_kept(mas, inside):
    """Beside the message, in a watch and in a trace; elsewhere it is said that they are not kept."""
    sent = mas("send", "calculator", "kept.not", '{"a": 1}', "-o", "json").json
    watched = mas(
        "watch", "--since", "1m", "--type", "kept.not", "--payload", "full", "--count", "1", "-o", "jsonl"
    )
    traced = mas("trace", sent["id"], "--payload", "short")

    assert json.loads(watched.out)["payload_problem"] == "payload not kept"
    assert "no payloads kept" in watched.err
    assert f"payload of {sent['id']}  (payload not kept)" in traced.out
    assert mas("watch", "--payload", "all", "--for", "50ms").code == 2
