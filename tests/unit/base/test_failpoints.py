"""Failpoints: nothing outside of tests, and in them death or a stop at a named place."""

import os
import signal
import subprocess
import sys

import pytest

from mas_core.base.failpoints import Failpoints

PROGRAM = """
from mas_core.base.failpoints import failpoint
for number in range(5):
    print(number, flush=True)
    failpoint("here")
"""


def run(**environment):
    """The program under these variables: how it ended, and what it got to."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAS_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**clean, **environment}, capture_output=True, text=True
    )
    return ended.returncode, ended.stdout.split()


def test_without_testing_a_failpoint_does_nothing():
    """A variable that somebody forgot must not kill a gateway."""
    assert run(MAS_FAILPOINT="here") == (0, ["0", "1", "2", "3", "4"])


@pytest.mark.parametrize(("text", "got_to"), [("here", 1), ("here:3", 3), ("here:3=kill", 3)])
def test_a_process_dies_when_it_gets_there(text, got_to):
    """As by kill -9, the first time or the one that is named."""
    assert run(MAS_TESTING="1", MAS_FAILPOINT=text) == (-signal.SIGKILL, list("01234"[:got_to]))


def test_another_place_does_not_matter():
    """Nor does a place that is never reached often enough."""
    assert run(MAS_TESTING="1", MAS_FAILPOINT="elsewhere")[0] == 0
    assert run(MAS_TESTING="1", MAS_FAILPOINT="here:6")[0] == 0


def test_a_failpoint_can_stop_instead_of_kill(monkeypatch):
    """So that a process goes on later as if nothing had happened."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(number))
    points = Failpoints("here:2=stop")
    for _ in range(3):
        points.reached("here")

    assert sent == [signal.SIGSTOP]


def test_a_forked_process_can_be_given_a_place(monkeypatch):
    """`arm` takes the place of what was read at the import."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(number))
    points = Failpoints("")
    points.reached("")
    points.arm("there")
    points.reached("there")

    assert sent == [signal.SIGKILL]
