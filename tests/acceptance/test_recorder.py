"""The recorder beside a system that `mas up` runs."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_mas_up_keeps_events_where_it_is_told_to(tmp_path):
    """Emitted as soon as everything runs; they can be read after the system has ended."""
    folder = tmp_path / "demo"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "REDIS_"))}

    def mas(*words):
        ran = subprocess.run(
            [sys.executable, "-m", "mas_cli", *words],
            cwd=folder if folder.is_dir() else tmp_path,
            env={**kept, "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    mas("init", "demo")
    with (folder / "mas.yaml").open("a") as settings:
        settings.write("events: {record: true}\n")
    mas("up", "--detach")
    try:
        mas("event", "emit", "order.created", '{"amount":120}')
        seen = mas("event", "tail", "--since", "1h", "--type", "order.*", "--count", "1", "--for", "30s")
    finally:
        mas("down")
    (event,) = json.loads(mas("event", "list", "--type", "order.*", "-o", "json"))

    assert "order.created" in seen
    assert (event["source"], event["data"]) == ("operator", {"amount": 120})
