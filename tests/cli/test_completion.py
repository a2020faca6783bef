"""Completion: the fast path, and the scripts in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mas_cli.completion import fast_path, values
from mas_cli.completion.fast_path import answer
from mas_core.settings.contexts import ContextStore, make_context

COMPLETIONS = Path(__file__).parents[2] / "completions"


def offered(*words: str, of: str = "zsh") -> list[str]:
    return [line.partition("\t")[0] for line in answer(of, words)]


def test_commands_and_groups_are_offered():
    """With their summaries, in the order of the table."""
    assert {"context", "version", "help"} <= set(offered(""))
    assert offered("context", "re") == ["rename", "remove"]
    assert answer("zsh", ["vers"]) == ["version\tShow the versions of all parts"]
    assert offered("nonsense", "") == []


def test_flags_are_offered_everywhere():
    """Shared ones before the command, its own behind it."""
    assert "--output" in offered("--")
    assert {"--protected", "--output", "--help"} <= set(offered("context", "add", "--"))
    assert offered("context", "add", "--prot") == ["--protected"]
    assert "--confirm" in offered("context", "remove", "--")


@pytest.mark.parametrize(
    "words",
    [
        ("--output", "js"),
        ("-o", "js"),
        ("-qo", "js"),
        ("version", "-o", "js"),
        ("--color", "never", "context", "add", "-o", "js"),
    ],
)
def test_choices_of_a_flag_are_offered(words):
    """In both positions and in clusters."""
    assert offered(*words) == ["json", "jsonl"]


def test_values_behind_an_equals_sign():
    """zsh and fish replace the word, bash what stands behind the sign."""
    assert offered("--output=js") == ["--output=json", "--output=jsonl"]
    assert offered("--output", "=", "js", of="bash") == ["json", "jsonl"]
    assert offered("version", "--output", "=", of="bash")[0] == "table"


def test_what_stands_behind_two_dashes_is_no_flag():
    """And a value is not taken for a command."""
    assert offered("context", "show", "--", "--") == []
    assert "list" in offered("-c", "prod", "context", "l")


def test_files_are_left_to_the_shell():
    """Paths by a directive, payload files by name."""
    Path("data.json").write_text("{}")
    assert offered("--config", "") == [":files"]
    assert offered("context", "add", "--project", "x") == [":folders"]
    assert [f"{name}" for name in values.files("da")] == ["data.json"]


def test_contexts_are_offered_by_name():
    """Wherever a context stands; hostile names are not."""
    store = ContextStore()
    store.add(make_context(name="prod", url="redis://h"))
    (store.folder / "contexts" / "$(touch owned).yaml").write_text("url: x")

    assert offered("context", "select", "") == ["prod"]
    assert offered("context", "remove", "prod", "") == ["prod"]
    assert offered("-c", "p") == ["prod"]
    assert offered("context", "select", "prod", "") == []


def test_a_slow_or_failing_source_of_names_has_none(monkeypatch):
    """300 ms, then nothing, and never an error."""
    monkeypatch.setitem(values.PROVIDERS, "SLOW", lambda _: time.sleep(5) or [("late", "")])
    monkeypatch.setitem(values.PROVIDERS, "BROKEN", lambda _: 1 / 0)

    before = time.monotonic()

    assert values.live_values("SLOW", []) == []
    assert time.monotonic() - before < 2
    assert values.live_values("BROKEN", []) == []
    assert values.live_values("UNKNOWN", []) == []


def test_names_are_kept_for_a_while(monkeypatch, home):
    """A second TAB asks nobody; another folder or an old answer does."""
    calls = []
    monkeypatch.setitem(values.PROVIDERS, "AGENT", lambda _: calls.append(1) or [("a", "né\n"), ("b c", "")])

    assert values.live_values("AGENT", []) == [("a", "n  ")]
    assert values.live_values("AGENT", []) == [("a", "n  ")]
    assert len(calls) == 1

    for path in (home / ".cache" / "mas" / "completion").iterdir():
        assert oct(path.stat().st_mode)[-3:] == "600"
        os.utime(path, (0, 0))
    values.live_values("AGENT", [])
    assert len(calls) == 2


def test_nothing_that_goes_wrong_shows(monkeypatch, capfd):
    """No table, no words, nonsense: an empty answer and success."""
    monkeypatch.setattr(fast_path, "load", lambda: 1 / 0)

    assert fast_path.main(["bash", ""]) == 0
    assert fast_path.main([]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def path_with_mas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mas` on PATH, whatever is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "mas"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mas_cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


BASH = """
source {script}
complete_line() {{
    COMP_LINE=$1; COMP_POINT=${{#1}}; COMP_WORDS=("${{@:2}}"); COMP_CWORD=$(($# - 2)); COMPREPLY=()
    _mas
    printf '%s\\n' "${{COMPREPLY[@]}}"
}}
{call}
"""


def in_bash(call: str) -> list[str]:
    script = BASH.format(script=COMPLETIONS / "mas.bash", call=call)
    ran = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.usefixtures("path_with_mas")
def test_bash_completes():
    """The script parses, and its answers are what can be typed."""
    subprocess.run(["bash", "-n", COMPLETIONS / "mas.bash"], check=True)

    assert in_bash("complete_line 'mas context re' mas context re") == ["rename", "remove"]
    assert in_bash("complete_line 'mas --output=js' mas --output = js") == ["json", "jsonl"]
    assert in_bash("complete_line 'mas version --en' mas version --en") == ["--envelope"]
    assert in_bash("complete_line 'mas nope ' mas nope ''") == []


@pytest.mark.usefixtures("path_with_mas")
def test_bash_expands_nothing_that_it_completes(tmp_path: Path):
    """A word with a command in it stays a word."""
    in_bash(f"complete_line 'mas x' mas context select '$(touch {tmp_path}/owned)'")

    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(("shell", "name"), [("zsh", "_mas"), ("fish", "mas.fish")])
def test_other_scripts_parse(shell, name):
    """Where the shell is installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    subprocess.run([shell, "-n", COMPLETIONS / name], check=True)
