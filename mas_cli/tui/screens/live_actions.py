"""What can be done to decisions that were seen: follow them up, send them again, keep them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mas_cli.input.payload import parse_value
from mas_cli.output.columns import Record
from mas_cli.output.documents import json_text
from mas_cli.output.explanations import explained
from mas_cli.output.safe_text import safe_text
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import ConfigurationError, MasError

if TYPE_CHECKING:
    from mas_core.ops.system import System

OPERATOR = "operator"
NEWEST_LETTERS = 500
"""Dead letters that are looked through for a payload."""


async def _explain(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import rbac

    rule = f" by {record['rule']}" if record["rule"] else ""
    lines = [f"{record['time']}  {record['decision']}{rule}", f"because  {record['reason'] or '-'}", ""]
    lines.append(f"by the rules of now, {record['from']} to {record['to']}, {record['type']}:")
    found = await rbac.explain(system, str(record["from"]), str(record["to"]), str(record["type"]))
    return "\n".join([*map(safe_text, lines), explained(found)])


async def _with_payload(system: System, record: Record) -> Record:
    """The record with the payload of its message, where one is kept, and with somebody who can send it."""
    sender = str(record["from"])
    try:
        system.token_of(sender)
    except MasError:
        sender = OPERATOR
    return {**record, "as": sender, "payload": await _payload(system, str(record["id"]))}


async def _payload(system: System, message_id: str) -> str:
    from mas_core.ops import dead_letters, payload_copies
    from mas_core.ops.audit_questions import note_question

    if not message_id:
        return ""
    with contextlib.suppress(MasError):
        await note_question(system, "audit.payload", {"id": message_id})
        return (await payload_copies.read(system, message_id))[1].decode(errors="replace")
    with contextlib.suppress(MasError):
        for letter in (await dead_letters.list_letters(system, newest=NEWEST_LETTERS)).letters:
            if letter.facts.message_id == message_id:
                return json_text(await dead_letters.payload(system, letter.id))
    return ""


async def _send(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import messages

    receipt = await messages.send(
        system,
        answers["to"],
        answers["type"],
        parse_value(answers["payload"] or "{}"),
        as_agent=answers["as"],
    )
    return f"{receipt.decision}: {receipt.message_id}"


async def _save(system: System, records: Sequence[Record], answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    return await asyncio.to_thread(_written, records, answers["file"])


def _written(records: Sequence[Record], name: str) -> str:
    path = Path(name).expanduser()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(json_text(record) + "\n" for record in records)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    return f"{len(records)} lines in {path}"


def _send_words(record: Record, answers: Answers) -> tuple[str, ...]:
    names = ("to", "type", "payload", "as")
    to, kind, payload, sender = (answers.get(name, str(record.get(name, ""))) for name in names)
    return ("send", to, kind, payload or "{}", *(("--as", sender) if sender != OPERATOR else ()))


def _has_id(record: Record) -> bool:
    return bool(record["id"])


def _text(name: str) -> Callable[[Record], str]:
    return lambda record: str(record.get(name, ""))


_MESSAGE = (
    Question("type", "type", _text("type")),
    Question("payload", "payload (JSON); empty where none was kept", _text("payload"), is_required=False),
    Question("as", "as agent", _text("as")),
)


def live_actions(go: Callable[[str, str], None]) -> tuple[Action, ...]:
    """What can be done; `go` leads to a screen and a row of it."""

    def words(*names: str) -> Callable[[Record, Answers], tuple[str, ...]]:
        return lambda record, _: (*names[:-1], str(record[names[-1]]))

    return (
        Action(
            "live.trace", "open its trace", "read", words("trace", "id"),
            applies=_has_id, go=lambda record, _: go("Trace", str(record["id"])),
        ),
        Action(
            "live.sender", "open its sender", "read", words("agent", "describe", "from"),
            go=lambda record, _: go("Agents", str(record["from"])),
        ),
        Action(
            "live.target", "open its target", "read", words("agent", "describe", "to"),
            applies=lambda record: bool(record["to"]), go=lambda record, _: go("Agents", str(record["to"])),
        ),
        Action(
            "live.explain", "explain the decision", "read",
            lambda record, _: ("rbac", "explain", *(str(record[name]) for name in ("from", "to", "type"))),
            _explain, applies=lambda record: bool(record["to"]),
        ),
        Action(
            "live.again", "send again", "write", _send_words, _send,
            (Question("to", "to", _text("to")), *_MESSAGE), _has_id, prepare=_with_payload,
        ),
        Action(
            "live.replay", "replay to another agent", "write", _send_words, _send,
            (Question("to", "to"), *_MESSAGE), _has_id, prepare=_with_payload,
        ),
        Action(
            "live.save", "save as JSONL (m marks, M marks all)", "read",
            lambda record, _: ("audit", "get", str(record["id"]), "-o", "jsonl"),
            questions=(Question("file", "new file", lambda _: str(Path.cwd() / "messages.jsonl")),),
            run_all=_save,
        ),
    )  # fmt: skip
