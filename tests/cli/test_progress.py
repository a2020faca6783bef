"""What takes long says how far it is, with count and rate; on a terminal after a second, else every ten."""

import io
import sys
import time

import pytest
from support.terminal import ANSI, Terminal

from mas_cli.output import progress as progresses
from mas_cli.output.colours import Palette
from mas_cli.output.diagnostics import Diagnostics


@pytest.mark.parametrize(("width", "seconds"), [(80, 1.0), (None, 10.0)])
def test_nothing_is_said_before_its_time(monkeypatch, width, seconds):
    """Then count, goal and rate; nothing is left of it on a terminal."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    talk = Diagnostics(stream, Palette(enabled=False), width=width)

    with progresses.Progress(talk, 2_000, "messages") as progress:
        now[0] += seconds - 0.01
        progress(500)
        assert stream.getvalue() == ""
        now[0] += 0.01
        progress(1_000)
        assert f"1,000 of 2,000 messages, {1000 / seconds:,.0f}/s" in stream.getvalue()

    assert stream.getvalue().endswith("\x1b[K" if width else "\n")


def test_a_batch_that_is_slow_shows_how_far_it_is(running_project, monkeypatch):
    """On a terminal; it is gone when the rows come."""
    monkeypatch.chdir(running_project)
    words = ["send", "calculator", "slow.batch", "--count", "9", "--rate", "5", "--color=never"]
    terminal = Terminal(sys.executable, "-m", "mas_cli", *words)

    shown = ANSI.sub("", terminal.until(r"of 9 messages, \d+/s"))
    rest = ANSI.sub("", terminal.rest())

    assert "ID" not in shown
    assert "9 messages sent" in rest
    assert terminal.process.wait(10) == 0
