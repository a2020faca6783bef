"""The measuring side works and counts right; what it measures is not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_ROWS = (
    "gateway_cpu",
    "end_to_end",
    "request_reply",
    "many_agents",
    "policy_change",
    "two_gateways",
    "topics",
    "votes",
    "event_dispatch",
    "audit_verify",
    "first_paint",
    "live_pane",
)
"""Of those that need nothing from the network the ones that say most and end soon."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_row_is_measured_and_counts_right(tmp_path):
    """With tiny counts: nothing fails, nothing is lost or handled twice, and the table is written."""
    options = ("--rounds", "1", "--scale", "0.001", "--profile", "fast", "--out", str(tmp_path))
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", *OWN_ROWS, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["name"] for row in rows if row["reason"]] == [], rows
    end_to_end = [row["figures"] for row in rows if row["name"].startswith("end to end")]
    assert [(item["lost"], item["twice"]) for item in end_to_end] == [(0, 0), (0, 0)]
    figures = {name: count for row in rows for name, count in row["figures"].items()}
    assert figures["wrong"] == figures["decisions under the old policy after it returned"] == 0
    assert all(row["values"] for row in rows)
    assert "first frame of mas tui" in (tmp_path / "results.svg").read_text()
    table = (tmp_path / "results.md").read_text()
    assert all(row["name"] in table for row in rows)
