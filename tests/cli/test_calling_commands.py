"""What every call has in common: flags, errors, exit codes, the danger ladder."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from mas_cli import app, command_parser, routing
from mas_cli.command_table import RARER, Command
from mas_cli.errors import Cancelled, ConfirmationNeeded
from mas_cli.input.confirmation import Confirmation
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Palette
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import Forbidden, RateLimited


@pytest.fixture
def probe(monkeypatch):
    """Makes `mas probe` out of a function; the impact is that of the entry."""

    def install(function, impact="read", **settings):
        entry = Command("probe", "Probe", impact, "none:probe", ("mas probe",), **settings)
        monkeypatch.setitem(routing.BY_PATH, ("probe",), entry)
        monkeypatch.setattr(command_parser, "load", lambda _: function)

    return install


VALUES = {"output": "json", "timeout": "5s", "color": "never", "columns": "a"}


@pytest.mark.parametrize("spec", SHARED_FLAGS, ids=lambda spec: spec.name)
def test_shared_flags_work_before_and_after_the_command(mas, probe, monkeypatch, spec):
    """In both places and in the environment; of two, the later wins."""
    seen = []
    probe(lambda call: seen.append(getattr(call.flags, spec.name)) or ExitCode.OK)
    value = VALUES.get(spec.name, "one")
    for declaration in spec.declarations:
        words = [declaration, value] if spec.takes_value else [declaration]
        assert mas(*words, "probe").code == 0
        assert mas("probe", *words).code == 0
    if spec.takes_value:
        later = {"output": "yaml", "timeout": "6s", "color": "always"}.get(spec.name, "two")
        assert mas(spec.declarations[0], value, "probe", spec.declarations[0], later).code == 0
        assert later == seen.pop()
    if not spec.is_setting:
        monkeypatch.setenv(spec.env, value if spec.takes_value else "1")
        assert mas("probe").code == 0

    assert seen == [value if spec.takes_value else spec.default + 1] * len(seen)
    assert len(seen) == 2 * len(spec.declarations) + (not spec.is_setting)


@pytest.mark.parametrize(
    "words", [["--output", "xml"], ["--color", "blue"], ["--timeout", "soon"], ["--no-such-flag"], ["extra"]]
)
def test_flags_that_cannot_be_are_usage_errors(mas, probe, words):
    """Exit 2 with a hint, and nothing on standard output."""
    probe(lambda call: ExitCode.OK)

    ran = mas("probe", *words)

    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("mas: usage: ")
    assert "  try " in ran.err


def test_a_bad_environment_twin_is_a_usage_error(mas, probe, monkeypatch):
    """The environment is no way around the checks."""
    probe(lambda call: ExitCode.OK)
    monkeypatch.setenv("MAS_OUTPUT", "xml")

    assert mas("probe").code == 2


def forbidden(call):
    raise Forbidden(
        "billing may not send invoice.create to ledger",
        hint=("mas rbac explain billing ledger invoice.create", "mas rbac allow billing ledger"),
        because="no rule allows it",
        closest=["rule 12"],
    )


def test_an_error_is_a_block_with_reasons_and_ways_on(mas, probe):
    """What happened, why, what is close, what to type."""
    probe(forbidden)

    ran = mas("probe")

    assert ran.code == ExitCode.REFUSED
    assert ran.out == ""
    assert ran.err == (
        "mas: refused: billing may not send invoice.create to ledger             [forbidden]\n"
        "  because  no rule allows it\n"
        "  closest  rule 12\n"
        "  try      mas rbac explain billing ledger invoice.create\n"
        "           mas rbac allow billing ledger\n"
    )


@pytest.mark.parametrize(("seconds", "shown"), [(57.7, "58s"), (0.004, "1s"), (3600, "1h")])
def test_an_error_tells_how_long_to_wait(mas, probe, seconds, shown):
    """Where trying again can help; rounded up."""

    def limited(call):
        raise RateLimited("all is used", retry_after=seconds)

    probe(limited)

    assert f"\n  wait     {shown}\n" in mas("probe").err


@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_an_error_is_a_line_of_json_for_programs(mas, probe, format_):
    """One line on standard error, nothing on standard output."""
    probe(forbidden)

    ran = mas("probe", "-o", format_)

    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.error == {
        "code": "forbidden",
        "message": "billing may not send invoice.create to ledger",
        "hint": ["mas rbac explain billing ledger invoice.create", "mas rbac allow billing ledger"],
        "details": {"because": "no rule allows it", "closest": ["rule 12"]},
        "exit": 5,
    }


@pytest.mark.parametrize(
    "words", [["-o", "json", "nope"], ["nope", "-ojson"], ["version", "--output=json", "--x"]]
)
def test_errors_before_the_flags_are_parsed_are_json_too(mas, words):
    """A program that asked for JSON gets JSON, whatever it got wrong."""
    ran = mas(*words)

    assert ran.code == 2
    assert ran.out == ""
    assert ran.error["code"] == "usage"


def test_a_bug_leaves_a_private_report_without_secrets(mas, probe, home):
    """Exit 70, no traceback on the screen, the path of the report, no arguments or secrets in it."""

    def crash(call: Invocation, text: str) -> ExitCode:
        raise ValueError(
            "redis://user:hunter2@host failed, token=tok_abc and 0123456789abcdef0123456789abcdef"
        )

    probe(crash)

    ran = mas("probe", "my payload", "-o", "json")

    report = ran.error["details"]["report"]
    assert ran.code == ExitCode.BUG
    assert "Traceback" not in ran.err
    assert report.startswith(str(home))
    text = Path(report).read_text()
    assert oct(Path(report).stat().st_mode)[-3:] == "600"
    assert "command  mas probe" in text
    assert "ValueError" in text
    for secret in ("hunter2", "tok_abc", "0123456789abcdef", "my payload"):
        assert secret not in text


def test_debug_adds_the_traceback(mas, probe):
    """For known errors and for bugs."""
    probe(forbidden)
    assert "Traceback" in mas("probe", "--debug").err

    probe(lambda call: 1 / 0)
    assert "ZeroDivisionError" in mas("--debug", "probe").err
    assert "Traceback" not in mas("probe").err


def test_a_command_has_to_return_an_exit_code(mas, probe):
    """A forgotten return is a bug, not a success."""
    probe(lambda call: None)

    assert mas("probe").code == ExitCode.BUG


def test_an_async_command_ends_at_its_timeout(mas, probe):
    """Exit 4, and what it opened is closed."""
    closed = []

    async def wait(call: Invocation) -> ExitCode:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)
        return ExitCode.OK

    probe(wait)

    assert mas("probe", "--timeout", "20ms").code == ExitCode.TIMED_OUT
    assert closed == [True]


def test_a_command_can_keep_the_timeout_for_itself(mas, probe):
    """`request` waits for a reply that long, and says so itself."""

    async def answer(call: Invocation) -> ExitCode:
        assert call.flags.timeout_seconds() == 0
        return ExitCode.OK

    probe(answer, own_timeout=True)

    assert mas("probe", "--timeout", "0").code == 0


@pytest.mark.parametrize("impact", ["write", "destroy"])
def test_read_only_refuses_before_anything_happens(mas, probe, monkeypatch, impact):
    """By flag and by environment; reading goes on."""
    calls = []
    probe(lambda call: calls.append(1) or ExitCode.OK, impact)

    assert mas("probe", "--read-only", "-y").code == 2
    monkeypatch.setenv("MAS_READ_ONLY", "1")
    assert mas("probe", "-o", "json").error["code"] == "read_only"
    assert calls == []

    probe(lambda call: calls.append(1) or ExitCode.OK, "read")
    assert mas("probe").code == 0
    assert calls == [1]


def test_only_destroying_commands_take_confirm(mas, probe):
    """--confirm is no shared flag."""
    probe(lambda call: ExitCode.OK, "write")
    assert mas("probe", "--confirm", "x").code == 2

    probe(lambda call: ExitCode.OK, "destroy")
    assert mas("probe", "--confirm", "x").code == 0


def confirmation(answer="", **settings):
    told = io.StringIO()
    settings.setdefault("can_ask", True)
    protected = settings.pop("protected", None)
    asked = Confirmation(Diagnostics(told, Palette(enabled=False)), io.StringIO(answer), **settings)
    if protected:
        asked.protect(protected)
    return asked, told


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_one_thing_goes_after_a_yes(answer):
    """The question names it."""
    ask, told = confirmation(answer)

    ask.one("the agent a\x1b[2J")

    assert told.getvalue() == "Delete the agent a␛[2J? [y/N] "


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "ja\n"])
def test_anything_else_is_no(answer):
    """The default is to keep it."""
    with pytest.raises(Cancelled):
        confirmation(answer)[0].one("it")


def test_nobody_to_ask_is_an_error_and_not_a_wait():
    """--yes is named as the way on."""
    ask, told = confirmation(can_ask=False)

    with pytest.raises(ConfirmationNeeded) as raised:
        ask.one("it")
    assert raised.value.hint == ("--yes",)
    assert told.getvalue() == ""
    confirmation(can_ask=False, yes=True)[0].one("it")


def test_several_things_take_a_name():
    """--yes is not enough; the list is shown before the question."""
    things = [f"thing {number}" for number in range(25)]
    with pytest.raises(ConfirmationNeeded) as raised:
        confirmation(can_ask=False, yes=True)[0].many(things, "prod")
    assert raised.value.hint == ("--confirm prod",)
    with pytest.raises(ConfirmationNeeded):
        confirmation(confirmed="other")[0].many(things, "prod")
    with pytest.raises(Cancelled):
        confirmation("yes\n")[0].many(things, "prod")

    ask, told = confirmation("prod\n")
    ask.many(things, "prod")
    assert "thing 19" in told.getvalue()
    assert "and 5 more" in told.getvalue()
    confirmation(can_ask=False, confirmed="prod")[0].many(things, "prod")


def test_a_far_reaching_step_takes_the_name_of_whom_it_concerns():
    """Typed, with --confirm or with --yes; in a protected context the name of that."""
    ask, told = confirmation("admin\n")
    ask.named("this lets admin send to everybody", "admin")
    assert "this lets admin send to everybody" in told.getvalue()
    confirmation(can_ask=False, yes=True)[0].named("it", "admin")
    confirmation(can_ask=False, confirmed="admin")[0].named("it", "admin")
    with pytest.raises(Cancelled):
        confirmation("yes\n")[0].named("it", "admin")
    for settings in (
        {"can_ask": False},
        {"confirmed": "other"},
        {"yes": True, "can_ask": False, "protected": "prod"},
    ):
        with pytest.raises(ConfirmationNeeded):
            confirmation(**settings)[0].named("it", "admin")


def test_a_protected_context_takes_its_name_for_one_thing_too():
    """--yes does not reach that far."""
    with pytest.raises(ConfirmationNeeded):
        confirmation(can_ask=False, yes=True, protected="prod")[0].one("it")

    confirmation(can_ask=False, confirmed="prod", protected="prod")[0].one("it")


def test_quiet_and_verbose(mas, probe):
    """-q leaves warnings, -v and -vv add detail."""

    def talk(call: Invocation) -> ExitCode:
        call.talk.say("said")
        call.talk.count("counted")
        call.talk.detail("detail")
        call.talk.detail("depth", 2)
        call.talk.warn("careful")
        return ExitCode.OK

    probe(talk)

    assert mas("probe").err == "said\nmas: warning: careful\n"
    assert mas("probe", "-q").err == "mas: warning: careful\n"
    assert mas("-v", "probe").err == "said\ncounted\ndetail\nmas: warning: careful\n"
    assert mas("-v", "probe", "-v").err.count("depth") == 1
    assert mas("probe", "-vv").err == mas("-vv", "probe").err


def test_typed_arguments_reach_the_command(mas, probe):
    """Typer reads the function's own parameters."""
    seen = {}

    def take(
        call: Invocation,
        names: list[str],
        *,
        count: Annotated[int, typer.Option("--count", "-n", metavar="N")] = 1,
        force: Annotated[bool, typer.Option("--force")] = False,
    ) -> ExitCode:
        seen.update(names=names, count=count, force=force)
        return ExitCode.OK

    probe(take)

    assert mas("probe", "-n", "3", "a", "--force", "--", "-b").code == 0
    assert seen == {"names": ["a", "-b"], "count": 3, "force": True}
    assert mas("probe", "-n", "many", "a").code == 2
    assert mas("probe").code == 2


def test_the_root_shows_one_screen(mas):
    """`mas` and `mas --help` succeed, a bare group does not."""
    assert mas().code == mas("--help").code == mas("context", "-h").code == 0
    assert mas("-h").out == mas("--help").out
    assert mas().out.startswith(mas("-h").out)
    assert len(mas("-h").out.splitlines()) <= 48
    assert "version" in mas("-h").out
    assert mas("context").code == 2
    assert mas("--version").out == mas("version").out


def test_every_first_word_is_in_the_root_help_and_has_its_summary_in_the_topic(mas):
    """What the one screen only names is told by `mas help commands`."""
    root, topic = mas("-h").out, mas("help", "commands").out
    summaries = dict(routing.members(()))

    assert [
        word for word in summaries if not re.search(rf"^  ([a-z-]+, )*{word}\b", root, re.MULTILINE)
    ] == []
    assert [word for word in summaries if not re.search(rf"^  {word} +\S", topic, re.MULTILINE)] == []
    assert summaries.keys() >= RARER
    assert all(summary in topic for summary in summaries.values())


def test_help_of_a_command_has_examples_before_flags(mas):
    """Every page names environment twins, exit codes and impact."""
    page = mas("context", "add", "--help").out

    assert page.index("Examples:") < page.index("Usage:") < page.index("Arguments:") < page.index("Flags:")
    assert "[MAS_OUTPUT]" in page
    assert "Impact: write on files of this machine" in page
    assert "7  there is a context of this name" in page
    assert page == mas("help", "context", "add").out


def test_keyboard_interrupt_is_130(probe, monkeypatch):
    """Whatever the command was doing."""

    def interrupted(call):
        raise KeyboardInterrupt

    probe(interrupted)
    monkeypatch.setattr(sys, "argv", ["mas", "probe"])

    assert app.main() == 130


def test_the_envelope_names_the_command(mas):
    """The schema is the command's name with a version."""
    assert json.loads(mas("version", "-o", "json", "--envelope").out)["schema"] == "mas.version/1"


def test_a_dependency_that_is_missing_is_no_bug(mas, probe):
    """After an update that was not installed: it is named, with what to type, and no report is written."""

    def updated(call):
        raise ModuleNotFoundError("No module named 'novelty.parts'", name="novelty.parts")

    probe(updated)
    ran = mas("probe")

    assert ran.code == 2
    assert "the package 'novelty' is not installed" in ran.err
    assert "pip install" in ran.err
