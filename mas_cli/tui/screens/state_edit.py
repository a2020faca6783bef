"""Editing the state of an agent: what changes is shown line by line, and nobody else's change is lost."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rich.text import Text

from mas_cli.input.payload import parse_value
from mas_cli.output.columns import Record
from mas_cli.output.documents import json_text
from mas_cli.output.safe_text import safe_text
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import InvalidPayload, UsageError

if TYPE_CHECKING:
    from mas_core.ops.system import System


async def _fetched(system: System, record: Record) -> Record:
    from mas_core.ops import state

    found = await state.get(system, str(record["id"]))
    return {**record, "revision": found.revision, "state": json_text(found.value, indent=2)}


async def _set(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import state

    name, value = str(record["id"]), parse_value(answers["state"])
    done = await state.set_part(system, name, state.WHOLE, value, if_revision=int(str(record["revision"])))
    refused = await state.refusals(system, name, done.revision)
    if refused:
        return f"the state of {name} has revision {done.revision}, but it says: {refused[0]}"
    return f"the state of {name} has revision {done.revision}"


def _changes(record: Record, answers: Answers) -> Text:
    """What is to go and what comes, a line each."""
    try:
        wanted = json_text(parse_value(answers.get("state", "")), indent=2)
    except (UsageError, InvalidPayload) as error:
        return Text(safe_text(error.message, 300), "yellow")
    before, after = str(record.get("state", "")).splitlines(), wanted.splitlines()
    text = Text(no_wrap=True)
    for line in list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]:
        style = {"-": "red", "+": "green", "@": "dim"}.get(line[0], "")
        text.append(f"{safe_text(line, 400)}\n", style)
    return text or Text("nothing changes\n", "dim")


def _words(record: Record, answers: Answers) -> tuple[str, ...]:
    return (
        *("state", "set", str(record["id"]), ".", answers.get("state", "")),
        *("--if-revision", str(record.get("revision", ""))),
    )


EDIT_STATE = Action(
    "agent.state",
    "edit its state",
    "write",
    _words,
    _set,
    (Question("state", "state (JSON)", lambda record: str(record.get("state", "")), is_long=True),),
    prepare=_fetched,
    preview=_changes,
)
