"""SIGTERM ends a command in order."""

import os
import signal

import pytest

from mas_cli.errors import Terminated
from mas_cli.invocation import orderly_end


def test_a_second_sigterm_does_not_cut_off_the_closing():
    """What ends a command twice, as `timeout` does, lets it close what is open; afterwards it counts as before."""
    before = signal.getsignal(signal.SIGTERM)
    closed = []

    def command():
        with orderly_end():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                closed.append(True)

    with pytest.raises(Terminated):
        command()
    assert closed
    assert signal.getsignal(signal.SIGTERM) is before
