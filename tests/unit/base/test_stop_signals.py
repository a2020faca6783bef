"""Services end in order when they are told to, by a signal or by the end of their input."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mas_core.base.stop_signals import UNTIL_INPUT_ENDS

PROGRAM = """
import asyncio, logging, sys
from mas_core.base.stop_signals import run_service
from mas_core.errors import LockHeld

async def serve(stop):
    print("ready", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    if "held" in sys.argv:
        raise LockHeld("another one runs", hint="mas status")
    if "stuck" in sys.argv:
        await asyncio.sleep(60)
    logging.getLogger("somebody").warning("late")
    return "disorder" not in sys.argv and None

sys.exit(run_service(serve, "test.failed", ends_at_second="twice" in sys.argv))
"""


@contextmanager
def started(*words):
    """A service that serves, as a process of its own; killed when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_in_order(number):
    """It gets to its end, and whatever its process logs is a JSON record a line."""
    with started() as process:
        process.send_signal(number)
        told, logged = process.communicate()

    assert (process.returncode, told) == (0, b"stopping\n")
    assert [json.loads(line)["logger"] for line in logged.splitlines()] == ["somebody"]


def test_a_second_signal_ends_at_once_where_a_service_wants_that():
    """Its exit code says which signal that was."""
    with started("stuck", "twice") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 128 + signal.SIGINT


def test_a_service_ends_with_its_input_where_it_is_told_to():
    """Whoever started it is gone then; it gets to its end."""
    with started(UNTIL_INPUT_ENDS) as process:
        told, _ = process.communicate()

    assert (process.returncode, told) == (0, b"stopping\n")


def test_a_service_that_fails_says_why():
    """As one record, with what can be done; one that says itself that it did not end in order fails, too."""
    with started(UNTIL_INPUT_ENDS, "held") as failing, started(UNTIL_INPUT_ENDS, "disorder") as disorderly:
        _, logged = failing.communicate()
        disorderly.communicate()

    assert (failing.returncode, disorderly.returncode) == (1, 1)
    record = json.loads(logged)
    assert (record["event"], record["code"], record["hint"]) == ("test.failed", "lock_held", ["mas status"])
