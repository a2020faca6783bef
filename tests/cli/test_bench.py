"""`mas bench`: what it counts, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import time

import pytest

TINY = {
    "send": ("--count", "60", "--agents", "2"),
    "request": ("--count", "30", "--agents", "2", "--concurrency", "4"),
    "discover": ("--count", "12", "--agents", "12"),
    "dlp": ("--count", "40"),
    "policy": ("--count", "4"),
}


@pytest.fixture
def bench(mas, running_project):
    """Runs `mas bench` in the running project."""
    return lambda *words: mas("--config", str(running_project), "bench", *words, "-o", "json")


@pytest.fixture
def what_is_there(mas, running_project):
    """Ids of agents, rules, and limits of single agents."""

    def look():
        where = ("--config", str(running_project), "-o", "json")
        return [
            [item["id"] for item in mas(*where, *words).json]
            for words in (("agent", "list"), ("rbac", "list"))
        ]

    return look


@pytest.mark.parametrize("name", TINY)
def test_a_measurement_counts_all_and_leaves_nothing(name, bench, what_is_there, tmp_path):
    """Every message is accounted for, agents and rules of the run are gone after it; its times can be drawn."""
    before = what_is_there()

    ran = bench(name, *TINY[name], "--plot", str(tmp_path / "bench.svg"))

    assert ran.code == 0, ran.err
    assert what_is_there() == before
    expected = {
        "send": {"sent": 60, "handled": 60, "refused": 0, "failed": 0, "lost": 0, "duplicated": 0},
        "request": {"sent": 30, "answered": 30, "wrong": 0, "failed": 0, "duplicated": 0},
        "discover": {"agents": 12, "sent": 12, "answered": 12, "wrong": 0, "failed": 0},
        "dlp": {"sent": 40, "sensitive": 4, "caught": 4, "missed": 0, "false_alarms": 0, "failed": 0},
        "policy": {"changes": 4, "expected": 4, "turned": 4, "late": 0},
    }[name]
    assert {field: ran.json[field] for field in expected} == expected
    assert 0 < ran.json["p50_ms"] <= ran.json["p95_ms"] <= ran.json["p99_ms"]
    drawn = (tmp_path / "bench.svg").read_text()
    assert f"<title>mas bench {name}</title>" in drawn
    assert f"{ran.json['p99_ms']:,.3g} ms" in drawn


def test_a_run_for_a_time_ends_after_it(bench):
    """--for sends until the time is over, --rate at its pace."""
    ran = bench("send", "--for", "500ms", "--rate", "100")

    assert ran.code == 0, ran.err
    assert 10 < ran.json["sent"] == ran.json["handled"] <= 51


@pytest.mark.parametrize(
    ("budget", "code"), [("p99<1us", 1), ("p99<60s", 0), ("rate>1000000000", 1), ("lost<=0", 0)]
)
def test_a_budget_decides_about_the_exit_code(budget, code, bench):
    """What is beyond a budget is exit code 1, and said."""
    ran = bench("send", "--count", "20", "--budget", budget)

    assert ran.code == code
    assert (f"budget missed: {budget}" in ran.err) == bool(code)
    assert ran.json["handled"] == 20


@pytest.mark.parametrize("words", [("--budget", "fast"), ("--for", "0s"), ("--size", "0")])
def test_what_makes_no_sense_is_a_mistake_of_usage(words, bench):
    """Exit code 2, and nothing is sent."""
    assert bench("send", *words).code == 2


def test_a_budget_for_a_figure_that_is_not_measured_is_a_mistake(bench):
    """The error lists the figures there are."""
    ran = bench("policy", "--count", "1", "--budget", "rate>1")

    assert ran.code == 2
    assert "within_200ms_percent" in " ".join(ran.error["hint"])


def test_ctrl_c_leaves_no_agents_and_rules(mas, mas_process, running_project, what_is_there):
    """The run ends at once, and clears up first."""
    before = what_is_there()
    running = mas_process("--config", str(running_project), "bench", "send", "--for", "60s", "--rate", "50")
    deadline = time.monotonic() + 30
    while what_is_there()[1] == before[1]:
        assert time.monotonic() < deadline, "the rule of the run never came"
        time.sleep(0.05)

    running.send_signal(signal.SIGINT)

    assert running.wait(timeout=30) == 130
    assert what_is_there() == before


def test_without_a_gateway_nothing_is_measured(mas, tmp_path):
    """It says what is missing instead of waiting."""
    ran = mas("--url", f"unix://{tmp_path}/none.sock", "bench", "send", "--count", "1", "-o", "json")

    assert ran.code == 3
    assert json.loads(ran.err.splitlines()[-1])["error"]["exit"] == 3
