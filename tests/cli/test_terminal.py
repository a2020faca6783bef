"""What only a terminal shows: questions, colour, width, TAB."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.terminal import ANSI, Terminal

COMPLETIONS = Path(__file__).parents[2] / "completions"


@pytest.fixture
def terminal() -> Iterator[type]:
    """Starts processes on terminals."""
    opened: list[Terminal] = []

    def start(*command: str, columns: int = 80) -> Terminal:
        opened.append(Terminal(*command, columns=columns))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def mas_on(terminal, *words: str, columns: int = 80) -> Terminal:
    return terminal(sys.executable, "-m", "mas_cli", *words, columns=columns)


@pytest.fixture
def contexts(mas):
    """Two contexts, one with a long URL."""
    mas("context", "add", "a", "--url", "redis://h")
    mas("context", "add", "b", "--url", f"redis://{'long' * 40}")


@pytest.mark.usefixtures("contexts")
def test_a_table_fits_the_terminal(terminal):
    """Coloured, cut with an ellipsis, never wrapped."""
    shown = mas_on(terminal, "context", "list", columns=60).rest()

    assert "\x1b[1m" in shown
    assert "…" in shown
    assert max(len(line) for line in ANSI.sub("", shown).splitlines()) <= 60


@pytest.mark.usefixtures("contexts")
@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, "b\n"), ("n\n", 9, "a\nb\n"), ("\n", 9, "a\nb\n")]
)
def test_a_question_is_asked_on_a_terminal(terminal, mas, answer, code, left):
    """Only y removes; anything else leaves it and exits 9."""
    one = mas_on(terminal, "context", "remove", "a")
    one.until(r"Delete the context a\? \[y/N\]")

    one.type(answer)

    one.rest()
    assert one.process.wait(20) == code
    assert mas("context", "list", "-o", "name").out == left


@pytest.mark.usefixtures("contexts")
@pytest.mark.parametrize("flag", [["-o", "json"], ["--no-input"]])
def test_no_question_for_programs(terminal, flag):
    """Exit 2 instead, also on a terminal."""
    one = mas_on(terminal, "context", "remove", "a", *flag)

    assert "--yes" in one.rest()
    assert one.process.wait(20) == 2


@pytest.mark.usefixtures("contexts")
def test_ctrl_c_at_a_question_is_130(terminal):
    """And nothing is removed."""
    one = mas_on(terminal, "context", "remove", "a")
    one.until("y/N")

    one.process.send_signal(2)

    assert one.process.wait(20) == 130
    assert one.rest().endswith("\n")


def test_ctrl_c_ends_a_watch_with_a_count(terminal, running_project):
    """On a line of its own, and with the code of the signal."""
    one = mas_on(terminal, "watch", "--config", str(running_project), "--agent", "sleeper")
    one.until("Ctrl-C ends it")

    one.type("\x03")

    assert ANSI.sub("", one.rest()).endswith("\n0 seen\r\n")
    assert one.process.wait(20) == 130


def test_the_code_of_an_error_is_not_broken_over_lines(terminal):
    """However long it is, as long as the sentence is short."""
    shown = ANSI.sub("", mas_on(terminal, "context", "remove", "nobody").rest())

    first = shown.splitlines()[0]
    assert first.endswith("[context_not_found]")
    assert len(first) == 80


SHELLS = {
    "bash": (["bash", "--norc", "-i"], "source {}\n", COMPLETIONS / "mas.bash"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source {}\n", COMPLETIONS / "_mas"),
    "fish": (["fish", "--no-config", "-i"], "source {}\n", COMPLETIONS / "mas.fish"),
}


@pytest.mark.parametrize("name", SHELLS)
def test_tab_completes_in_a_real_shell(terminal, mas, monkeypatch, tmp_path, name):
    """A unique word is filled in, several are listed, names that exist now too, as a person sees it."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    assert mas("context", "add", "production", "--url", "redis://h").code == 0
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "mas"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mas_cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    command, setup, path = SHELLS[name]
    shell = terminal(*command, columns=100)
    shell.type(setup.format(path) + "echo rea''dy\n")
    shell.until("ready")

    shell.type("mas context prev\t")
    shell.until("mas context previous|ious")
    shell.type("\x15mas context re\t\t")
    shell.until("(?s)remove.*rename|rename.*remove")
    for _ in range(20):
        # a busy machine may need more than the 300 ms that a TAB gives
        shell.type("\x15mas context select pro\t\n")
        if "not_found" not in shell.until("duction|not_found"):
            break
    else:
        pytest.fail("the context was never offered")


@pytest.fixture
def in_running_project(running_project, monkeypatch):
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)
    return running_project


def test_a_person_is_asked_before_something_of_a_system_is_deleted(terminal, in_running_project):
    """What it is stands in the question; no is 9 and changes nothing."""
    shell = terminal(sys.executable, "-m", "mas_cli", "state", "reset", "sleeper")

    shell.until(r"Delete the state of sleeper\? \[y/N\]")
    shell.type("n\n")

    shell.rest()
    assert shell.process.wait(10) == 9


def test_a_terminal_shows_a_hundred_records_and_says_so(terminal, in_running_project):
    """And a reply as one line, as everywhere."""
    mas = (sys.executable, "-m", "mas_cli")
    reply = terminal(*mas, "request", "calculator", "text.echo", '{"a":[1,2]}').rest()
    sent = terminal(*mas, "send", "calculator", "terminal.one", "--count", "120").rest()

    wide = terminal(*mas, "audit", "list", "--type", "terminal.one", columns=100).rest()
    listed = ANSI.sub("", wide)

    assert '{"a":[1,2]}' in reply
    assert "120 messages sent" in sent
    assert "only 100 records are shown" in listed
    assert sum("terminal" in line for line in listed.splitlines()) == 100
    assert max(len(line) for line in listed.splitlines()) <= 100


def test_what_is_followed_stays_in_its_columns(terminal, in_running_project):
    """On 80 columns, with long names and reasons; times without the date."""
    mas = (sys.executable, "-m", "mas_cli")
    shell = terminal(*mas, "watch", "--type", "followed.*", "--count", "2")
    shell.until("watching")
    name = "followed.by-a-name-that-is-long"
    terminal(*mas, "send", "calculator", "followed.one").rest()
    terminal(*mas, "send", "calculator", name, "--as", "outsider").rest()
    followed = shell.rest()
    tail = terminal(*mas, "audit", "tail", "--follow", "--type", "followed.*", "--for", "0.1s").rest()

    for shown in (followed, tail):
        lines = ANSI.sub("", shown).splitlines()
        (start,) = [index for index, line in enumerate(lines) if "DECISION" in line]
        header, *rows = lines[start : start + 3]
        assert [row[header.index("DECISION") :].split()[0] for row in rows] == ["allowed", "denied"]
        assert all(row[header.index("DECISION") - 1] == " " for row in rows)
        assert max(map(len, lines)) <= 80
        assert re.search(r"(^| )\d\d:\d\d:\d\d ", rows[0])
        assert not re.search(r"\d{4}-\d\d-\d\d", rows[0])


def test_ctrl_c_at_a_question_changes_nothing(terminal, in_running_project):
    """130, and the agent is still there."""
    shell = terminal(sys.executable, "-m", "mas_cli", "agent", "deregister", "sleeper")
    shell.until(r"Delete the agent sleeper")

    shell.type("\x03")

    shell.rest()
    assert shell.process.wait(10) == 130
    assert "sleeper" in terminal(sys.executable, "-m", "mas_cli", "agent", "list").rest()


def test_an_export_does_not_go_to_a_terminal(terminal, in_running_project):
    """Its bytes are whatever is stored."""
    shell = terminal(sys.executable, "-m", "mas_cli", "audit", "export")

    assert "--out FILE" in shell.rest()
    assert shell.process.wait(10) == 2


def test_ctrl_c_ends_a_payload_that_is_being_typed(terminal, in_running_project):
    """At once, with nothing sent."""
    shell = terminal(sys.executable, "-m", "mas_cli", "send", "notebook", "note.add", "-")
    shell.until("end with Ctrl-D")

    shell.type('{"text":\x03')

    shell.rest()
    assert shell.process.wait(10) == 130


def test_a_pager_runs_only_on_a_terminal_and_where_asked_for(terminal, mas, monkeypatch):
    """--pager with PAGER, MAS_PAGER with a program of its own; never in a pipe, nor for a stream."""
    assert mas("context", "add", "a", "--url", "redis://h").code == 0
    monkeypatch.setenv("PAGER", "sed s/^/paged:/")

    assert "paged:NAME" in ANSI.sub("", mas_on(terminal, "context", "list", "--pager").rest())
    assert "paged:" not in mas_on(terminal, "context", "list").rest()
    assert "paged:" not in mas("context", "list", "--pager").out
    monkeypatch.setenv("MAS_PAGER", "sed s/^/own:/")
    assert "own:NAME" in ANSI.sub("", mas_on(terminal, "context", "list").rest())
    monkeypatch.setenv("MAS_PAGER", "no-such-pager")
    missing = mas_on(terminal, "context", "list")
    assert "cannot be run" in missing.rest()
    assert missing.process.wait(10) == 2
    monkeypatch.setenv("MAS_PAGER", "true")
    gone = mas_on(terminal, "context", "list")
    gone.rest()
    assert gone.process.wait(10) in {0, 141}


def test_a_context_is_changed_in_an_editor(terminal, mas, monkeypatch, tmp_path):
    """Only what can be used is kept; an editor that fails changes nothing; no terminal is 2."""
    assert mas("context", "add", "a", "--url", "redis://one").code == 0
    assert mas("context", "edit", "a").code == 2

    for editor, code, url in (
        ("sed -i s/one/two/", 0, "redis://two"),
        ("sed -i s/url/ulr/", 2, "redis://two"),
        ("false", 2, "redis://two"),
        ("no-such-editor", 2, "redis://two"),
    ):
        monkeypatch.setenv("EDITOR", editor)
        one = mas_on(terminal, "context", "edit", "a")
        one.rest()
        assert one.process.wait(10) == code
        assert mas("context", "show", "a", "-o", "json").json["url"] == url
