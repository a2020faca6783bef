"""A real shell in a real terminal: bash in tmux, typed into and read as a person does."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

SECONDS = 30


class Shown(NamedTuple):
    """How a line that was typed ended."""

    code: int
    text: str
    """What the terminal showed meanwhile."""


class Shell:
    """A shell of 120 columns."""

    def __init__(self, call: list[str]) -> None:
        self._call = call
        self._numbers = itertools.count(1)
        self._begin = "$"

    def run(self, line: str) -> Shown:
        """Type a line and wait until it has ended."""
        number = next(self._numbers)
        self.tmux("clear-history")
        self._begin = f"begin{number}\n"
        self.type(f"clear; echo 'begin''{number}'; {line}; echo \"[{number}:$?]\"")
        text = self.until(rf"\[{number}:\d+\]\n")
        found = re.search(rf"\[{number}:(\d+)\]\n", text)
        assert found is not None
        return Shown(int(found[1]), text[: found.start()].rstrip("\n"))

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def keys(self, *names: str) -> None:
        """Press keys, as tmux names them."""
        self.tmux("send-keys", *names)

    def until(self, pattern: str) -> str:
        """Everything since the last line was run, once `pattern` is in it."""
        end = time.monotonic() + SECONDS
        while True:
            # what was cleared is above the screen
            shown = self.tmux("capture-pane", "-J", "-p", "-S", "-").partition(self._begin)[2]
            if re.search(pattern, shown):
                return shown
            assert time.monotonic() < end, f"{pattern!r} is not in {shown!r}"
            time.sleep(0.05)

    def tmux(self, *words: str) -> str:
        """Let tmux do something."""
        return subprocess.run([*self._call, *words], check=True, capture_output=True, encoding="utf-8").stdout


@contextmanager
def shell_in(folder: Path, bin_dir: Path, environ: Mapping[str, str]) -> Iterator[Shell]:
    """A shell in a folder, with `mas` on its PATH from `bin_dir`, which is made."""
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("no tmux is installed: apt-get install tmux")
    bin_dir.mkdir()
    script = bin_dir / "mas"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mas_cli "$@"\n')
    script.chmod(0o755)
    call = [tmux, "-L", f"mas-{os.getpid()}-{secrets.token_hex(4)}", "-f", "/dev/null"]
    words = ["env", "-u", "TMUX", *(f"{name}={value}" for name, value in environ.items()), "PS1=$ "]
    words += [f"PATH={bin_dir}:/usr/bin:/bin", "bash", "--norc", "--noprofile", "-i"]
    subprocess.run([*call, "new-session", "-d", "-x", "120", "-y", "40", *words], check=True, cwd=folder)
    try:
        yield Shell(call)
    finally:
        subprocess.run([*call, "kill-server"], check=False)
