"""The dashboard in a real terminal, tmux: in 16 colours, without colour, with plain characters."""

import json
import re
import secrets
import shutil
import subprocess
import sys
import time

import pytest

HEADER = {"recording": "mas", "format": 1, "version": "0", "context": "demo", "time": "2026-11-21T10:00:00Z"}
EVENT = {"time": "2026-11-21T10:00:01Z", "from": "a", "to": "b", "type": "t", "decision": "forbidden"}
HUES = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[1-6]|4[1-6]|9[1-6]|10[1-6]|38|48)[;m]")
TRUE_COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?[34]8;")


@pytest.fixture
def screens(tmp_path):
    """Runs `mas tui --replay` in terminals of 80x24, side by side; gives what each shows, with its colours."""
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("no tmux is installed: apt-get install tmux")
    path = tmp_path / "r"
    path.write_text("".join(json.dumps(line) + "\n" for line in (HEADER, EVENT)))

    def start(environment):
        # The server of one session may still be ending when the next one starts.
        call = [tmux, "-L", f"mas-{secrets.token_hex(8)}", "-f", "/dev/null"]
        words = ["env", *(f"{name}={value}" for name, value in environment.items())]
        words += [sys.executable, "-m", "mas_cli", "tui", "--replay", str(path), "--screen", "live"]
        subprocess.run([*call, "new-session", "-d", "-x", "80", "-y", "24", *words], check=True, cwd=tmp_path)
        return call

    def shown_by(call):
        end = time.monotonic() + 60
        while True:
            shown = subprocess.run(
                [*call, "capture-pane", "-e", "-p"], capture_output=True, encoding="utf-8"
            ).stdout
            if "forbidden" in shown and "keys" in shown:
                return shown
            assert time.monotonic() < end, shown
            time.sleep(0.1)

    def run(*environments):
        calls = []
        try:
            calls += map(start, environments)
            return [shown_by(call) for call in calls]
        finally:
            for call in calls:
                subprocess.run([*call, "kill-server"], check=False)

    return run


@pytest.mark.slow
def test_it_works_in_real_terminals(screens):
    """Colours of 16 only; none at all; lines of plain characters."""
    few, none, plain = screens(
        {"TERM": "screen", "COLORTERM": ""},
        {"TERM": "screen", "NO_COLOR": "1"},
        {"TERM": "screen", "MAS_TUI_ASCII": "1"},
    )

    assert HUES.search(few)
    assert not TRUE_COLOURS.search(few)
    assert not HUES.search(none)
    assert not set(plain) & set("─│╭╮╰╯█░")
