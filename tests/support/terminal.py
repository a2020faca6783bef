"""A process on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>]|\][^\x07]*\x07|\([A-Z])")


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, *command: str, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(os.environ),  # readline puts a width into the environment that os.environ does not show
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def until(self, pattern: str, seconds: float = 20) -> str:
        """Everything shown, once `pattern` is in it."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.shown):
            if time.monotonic() > deadline:
                pytest.fail(f"{pattern!r} is not in {self.shown!r}")
            self._read(0.1)
        return self.shown

    def rest(self) -> str:
        """Everything shown until the process ends."""
        while self._read(20):
            pass
        return self.shown

    def type(self, text: str) -> None:
        self.shown = ""
        os.write(self.master, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
