"""Signals, pipes and what is imported, on real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("redis", "pydantic", "rich", "textual", "msgspec", "cryptography", "yaml", "asyncio")


def waiting(mas_process, *words: str) -> subprocess.Popen[str]:
    """A command that waits for standard input: it catches SIGTERM from when it runs."""
    process = mas_process("context", "add", "x", "--url", "-", *words)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return process
        time.sleep(0.01)
    pytest.fail("the command never ran")


def ended(process: subprocess.Popen[str], stdin: str = "") -> tuple[int, str, str]:
    out, err = process.communicate(stdin, timeout=20)
    return process.returncode, out, err


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_command_quietly(mas_process, number, code):
    """No traceback, the code of the signal, nothing done."""
    process = waiting(mas_process)

    process.send_signal(number)

    assert ended(process) == (code, "", "")


def test_a_blocked_command_ends_at_its_timeout(mas_process):
    """Also where it waits for input."""
    process = mas_process("context", "add", "x", "--url", "-", "--timeout", "0.2", "-o", "json")

    code, out, err = process.wait(20), process.stdout.read(), process.stderr.read()

    assert (code, out) == (4, "")
    assert json.loads(err)["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    "words", [["spec"], ["help", "errors"], ["--help"], ["spec", "--help"], ["-o", "jsonl", "help", "errors"]]
)
def test_a_closed_pipe_ends_a_command_quietly(mas_process, words):
    """141 and not a word."""
    process = mas_process(*words)
    process.stdout.close()
    process.stdin.close()

    err = process.stderr.read()

    assert err == ""
    assert process.wait(20) == 141


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("<&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0)])
def test_streams_that_were_closed_before_lead_nowhere(closed, code):
    """No traceback, as when output is thrown away."""
    ran = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m mas_cli help errors {closed}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == code
    assert ran.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize("words", ["version", "help errors"])
def test_output_that_cannot_be_written_is_no_bug(words):
    """A full disk is told once, in words."""
    ran = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m mas_cli {words} > /dev/full', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert ran.stderr.startswith("mas: usage: standard output cannot be written: No space left on device")
    assert ran.stderr.count("mas: ") == 1


def test_a_pipe_gets_everything_uncut(mas_process, monkeypatch):
    """No 80 columns, whatever the environment says about colour and width."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")

    code, out, _ = ended(mas_process("help", "exit-codes"))

    assert code == 0
    assert max(len(line) for line in out.splitlines()) > 80
    assert "…" not in out


def test_the_entry_point_answers_completion(mas_process):
    """`mas __complete` is answered before the command line is even looked at."""
    assert ended(mas_process("__complete", "zsh", "vers")) == (
        0,
        "version\tShow the versions of all parts\n",
        "",
    )
    assert ended(mas_process("__complete")) == (0, "", "")


def imported(statement: str, *argv: str) -> set[str]:
    script = (
        f"import sys; sys.argv[1:] = {list(argv)!r}\n{statement}\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize(
    "words",
    [("--help",), ("context", "--help"), ("__complete", "bash", ""), ("__complete", "fish", "help", "")],
)
def test_help_and_completion_import_nothing_heavy(words):
    """Not even what the commands stand on."""
    found = imported("from mas_cli.__main__ import main; main()", *words)

    assert "mas_cli" in found
    assert found.isdisjoint({*HEAVY, "typer"})


def test_bare_mas_reads_settings_and_imports_no_backend_where_nothing_runs():
    """Its facts about here need the settings; to say that no server runs nothing is drawn and nobody asked."""
    found = imported("from mas_cli.__main__ import main; main()")

    assert found.isdisjoint({"typer", "redis", "rich", "textual", "cryptography", "fakeredis"})


def test_parsing_a_command_imports_no_backend():
    """Only Typer, and the pydantic that it reads arguments with."""
    found = imported("from mas_cli.app import main; main(['version'])")

    assert found.isdisjoint({"redis", "rich", "textual", "cryptography", "fakeredis"})


def test_help_starts_faster_than_three_times_typer():
    """The budget of `mas --help`; best of several, since the machine is shared."""

    def best(*words: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best("-m", "mas_cli", "--help") < 3 * best("-c", "import typer")
