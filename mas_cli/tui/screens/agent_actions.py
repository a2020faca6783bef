"""What can be done to an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mas_cli.input.payload import parse_value
from mas_cli.output.columns import Record
from mas_cli.tui.actions import Action, Answers, Question
from mas_cli.tui.screens.rule_actions import limiting
from mas_cli.tui.screens.state_edit import EDIT_STATE
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.model.standing import StandingKind
    from mas_core.ops.system import System

_Run = Callable[["System", Record, Answers], Awaitable[str]]


def _id(record: Record) -> str:
    return str(record["id"])


async def _request(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import messages

    reply = await messages.request(
        system, _id(record), answers["type"], parse_value(answers["payload"] or "{}"), as_agent=answers["as"]
    )
    return f"{_id(record)} answers {reply.data}"


async def _send(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import messages

    receipt = await messages.send(
        system, _id(record), answers["type"], parse_value(answers["payload"] or "{}"), as_agent=answers["as"]
    )
    return f"{receipt.decision}: {receipt.message_id}"


def _standing(kind: StandingKind, done: str) -> _Run:
    async def run(system: System, record: Record, answers: Answers) -> str:
        from mas_core.ops.standings import set_standing

        if kind == "evicted" and not answers["reason"]:
            raise UsageError("an eviction needs a reason")
        (report,) = await set_standing(system, [_id(record)], kind, reason=answers["reason"])
        return f"{_id(record)} {done}" + (f"; {report.problem}" if report.problem else "")

    return run


async def _reset_state(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import state

    before = await state.get(system, _id(record))
    path = state.backup(system, before)
    await state.reset(system, before)
    return f"the state of {_id(record)} is empty; what it was is in {path}"


def _words(*words: str) -> Callable[[Record, Answers], tuple[str, ...]]:
    return lambda record, _: (*words, _id(record))


def _message_words(command: str) -> Callable[[Record, Answers], tuple[str, ...]]:
    def words(record: Record, answers: Answers) -> tuple[str, ...]:
        said = (answers.get("type", ""), answers.get("payload", ""))
        return (command, _id(record), *said, "--as", answers.get("as", ""))

    return words


_MESSAGE = (
    Question("type", "type"),
    Question("payload", "payload (JSON)", lambda _: "{}"),
    Question("as", "as agent", lambda _: "operator"),
)


async def _health(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops.health.check import check_health

    name = _id(record)
    items = [item for item in (await check_health(system)).items if item.name == f"agent {name}"]
    lines = [
        f"{item.status}  {item.reason}" + (f"\n    try  {item.fix}" if item.fix else "") for item in items
    ]
    return f"{name}\n" + ("\n".join(lines) or "nothing is known of its health")


async def _block(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops.policy_people import mark

    await mark(system, "blocked", _id(record), reason=answers["reason"])
    return f"nothing passes from {_id(record)} or to it; mas agent unblock {_id(record)} undoes it"


AGENT_ACTIONS: tuple[Action, ...] = (
    Action("agent.request", "ask it something", "write", _message_words("request"), _request, _MESSAGE),
    Action("agent.send", "send it a message", "write", _message_words("send"), _send, _MESSAGE),
    Action("agent.health", "its health", "read", lambda *_: ("health",), _health),
    EDIT_STATE,
    Action("agent.pause", "pause", "write", _words("agent", "pause"), _standing("paused", "is paused")),
    Action("agent.resume", "resume", "write", _words("agent", "resume"), _standing("active", "works again")),
    Action(
        "agent.drain",
        "drain",
        "write",
        _words("agent", "drain"),
        _standing("draining", "finishes what it has"),
    ),
    Action(
        "agent.quarantine",
        "quarantine",
        "write",
        _words("agent", "quarantine"),
        _standing("quarantined", "is quarantined"),
    ),
    Action("agent.block", "block", "write", _words("agent", "block"), _block),
    limiting("agent.limit", "set its limit", "id", default="100"),
    Action("agent.reset", "empty its state", "destroy", _words("state", "reset"), _reset_state),
    Action("agent.evict", "evict", "destroy", _words("agent", "evict"), _standing("evicted", "is evicted")),
)
