"""What a person waits for: the first frame of `mas tui` on a terminal, and the help of `mas`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.options import Options
from benchmarks.table import Row

MARK = b"Overview"
BARE_TEXTUAL = f"""
from textual.app import App
from textual.widgets import Static

class Bare(App):
    def compose(self):
        yield Static("{MARK.decode()}")

Bare().run()
"""
BARE_TYPER = "import typer"
SIZE = (36, 120)
LIMIT_S = 30.0


async def measure(options: Options) -> list[Row]:
    """Seconds from exec until the first frame stands, and until the help has ended."""
    return await asyncio.to_thread(_measure, max(1, options.rounds * 2))


def _measure(rounds: int) -> list[Row]:
    python = sys.executable
    with tempfile.TemporaryDirectory(prefix="mas-bench-") as folder:
        # Nothing answers there: the first frame waits for no server.
        Path(folder, "mas.yaml").write_text(f"name: bench\nurl: unix://{folder}/nobody.sock\n")
        commands: dict[str, Sequence[str]] = {
            "python": (python, "-c", "pass"),
            "bare Textual": (python, "-c", BARE_TEXTUAL),
            "mas tui": (python, "-m", "mas_cli", "tui"),
            "import typer": (python, "-c", BARE_TYPER),
            "mas --help": (python, "-m", "mas_cli", "--help"),
        }
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                is_drawn = name in ("bare Textual", "mas tui")
                found[name].append(_seconds(command, folder, MARK if is_drawn else b""))
    figures = {f"{name} s": statistics.median(times) for name, times in found.items()}
    pairs = zip(found["mas tui"], found["bare Textual"], strict=True)
    helps = zip(found["mas --help"], found["import typer"], strict=True)
    return [
        Row("first frame of mas tui", "under 1 s", found["mas tui"], unit="s", at_most=1.0, figures=figures),
        Row("first frame against a bare Textual app", "", [ours / bare for ours, bare in pairs]),
        Row(
            "mas --help against import typer",
            "under 3 times",
            [ours / bare for ours, bare in helps],
            at_most=3,
        ),
    ]


def _seconds(command: Sequence[str], folder: str, mark: bytes) -> float:
    """Until `mark` is on the terminal, or without one until the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "GATEWAY_"))}
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )
    os.close(slave)
    try:
        shown = b""
        while time.perf_counter() - began < LIMIT_S:
            if mark and mark in shown:
                return time.perf_counter() - began
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                data = b""
            if not data:
                break
            shown += data
        process.wait(LIMIT_S)
        if mark or process.returncode:
            raise RuntimeError(f"{command[-1]!r} ended with {process.returncode}: {shown[-200:]!r}")
        return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
        os.close(master)
