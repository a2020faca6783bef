"""Documents with shell sessions in them: reads the steps, runs them, compares what they print."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

END = "--end-of-step--"
START_SECONDS = 60

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
_CHANGING = (
    (re.compile(r"\.venv/bin/"), ""),
    (re.compile(r"(?<![\w.])/[\w./-]*/(?=mas\b|weather\b)"), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "<id>"),
    (re.compile(r"\bgw-[0-9a-f]{8}\b"), "<gateway>"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "<hex>"),
    (re.compile(r"\bprocess \d+"), "process <number>"),
    (re.compile(r"\b\d+(\.\d+)+ [kM]B|\b\d+(\.\d+)+\b(?=,)"), "<number>"),
    (re.compile(r"\b\d+(\.\d+)? ?m?s\b( ago)?"), "<span>"),
    (re.compile(r"\s+"), " "),
)
"""What is another with each run, and what stands for it in comparisons."""


@dataclass
class Step:
    """One command, and how it is said to end."""

    command: str
    line: int
    output: list[str]
    exit_code: int = 0


@dataclass(frozen=True)
class NewFile:
    """A block that is to be saved: its first line is a comment with the path."""

    path: str
    text: str


def steps_of(text: str) -> list[Step | NewFile]:
    """The commands of the `console` blocks and the files of all other blocks that name one, in order."""
    steps: list[Step | NewFile] = []
    for block in _BLOCK.finditer(text):
        language, body = block.groups()
        if language == "console":
            steps += _commands(body, text.count("\n", 0, block.start()) + 2)
        elif named := _FILE_NAME.match(body):
            steps.append(NewFile(named[1], body[named.end() :]))
    return steps


def _commands(body: str, first_line: int) -> list[Step]:
    found: list[Step] = []
    for number, line in enumerate(body.splitlines(), first_line):
        if line.startswith("$ "):
            found.append(Step(line[2:], number, []))
        elif line.startswith("> ") and not found[-1].output:
            found[-1].command += "\n" + line[2:]
        else:
            found[-1].output.append(line)
    for step, after in itertools.pairwise(found):
        if after.command == "echo $?":
            step.exit_code = int(after.output[0])
    return found


def differences(written: list[str], printed: list[str]) -> list[str]:
    """Lines that were written and not printed, in any order; or that something came where nothing was written.

    A line `...` stands for lines that were left out.
    """
    found = {_constant(line) for line in printed}
    wanted = [line for line in written if line.strip()]
    if not wanted:
        return ["  printed something"] if any(found) else []
    return [f"  missing: {line}" for line in wanted if line != "..." and _constant(line) not in found]


def _constant(line: str) -> str:
    for pattern, name in _CHANGING:
        line = pattern.sub(name, line)
    return line.strip()


class Shell:
    """A bash that runs one step after the other; standard error is part of what they print."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.background: list[int] = []
        """Ids of processes that were started in the background."""
        self._process = process
        self._folder = folder

    def run(self, command: str) -> tuple[int, list[str]]:
        """Exit code and printed lines of `command`, which has no input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # the last part sets $? for an `echo $?` that follows
        self._process.stdin.write(
            f"{{ {command}\n}} </dev/null; code=$?; printf '\\n{END} %d\\n' $code; (exit $code)\n"
        )
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(END):
                return int(line.split()[1]), "\n".join(lines).rstrip().splitlines()
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended with: {lines}")

    def start(self, command: str, until: str) -> tuple[int, list[str]]:
        """Let `command` run in the background; what it printed when the line `until` has come."""
        log = self._folder.parent / "background.log"
        log.touch()
        code, _ = self.run(f"{command} >{log} 2>&1 &")
        self.background.append(int(self.run("echo $!")[1][0]))
        latest = time.monotonic() + START_SECONDS
        while until not in (lines := log.read_text().splitlines()) and time.monotonic() < latest:
            time.sleep(0.05)
        return code, lines

    def write(self, file: NewFile) -> None:
        """Save a file in the folder where the shell is."""
        (Path(self.run("pwd")[1][0]) / file.path).write_text(file.text)


@contextlib.contextmanager
def shell_of(folder: Path, *, seconds: float = 110) -> Iterator[Shell]:
    """A shell in `folder` with `mas` and `python` of this environment, for so many seconds.

    What runs in projects below ends with it.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "REDIS_"))
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
    }
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        shell = Shell(process, folder)
        try:
            yield shell
        finally:
            watchdog.cancel()
            for pid in shell.background:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            process.kill()
            for config in folder.parent.glob("*/mas.yaml"):
                subprocess.run(
                    [sys.executable, "-m", "mas_cli", "down", "--dir", config.parent],
                    env=environment,
                    capture_output=True,
                    check=False,
                )
