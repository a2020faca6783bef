"""What can be done to queues and to the messages in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.input.durations import parse_duration
from mas_cli.output.columns import Record
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from mas_core.ops.system import System


def _agent(record: Record) -> str:
    return str(record["agent"])


async def _payload(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import queues
    from mas_core.ops.audit_questions import note_question

    await note_question(system, "bus.inspect", {"agent": _agent(record), "payloads": True})
    for item in await queues.inspect(system, _agent(record), most=0):
        if (item.lane, f"{item.entry}:{item.position}") == (record["lane"], record["place"]):
            return str(item.payload)
    raise NotFound("it is not in the queue any more", hint=f"mas bus inspect {_agent(record)}")


async def _trim(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import queue_trims

    if not answers["keep"].isdecimal():
        raise UsageError("how many are to stay is a whole number")
    planned = await queue_trims.plan(system, _agent(record), keep=int(answers["keep"]))
    done = await queue_trims.trim(system, planned, note=answers["reason"])
    more = f"; {done.left} frames stay: {done.problem}" if done.left else ""
    return f"{done.moved} are dead letters now{more}"


async def _claim(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import queue_claims

    idle = parse_duration(answers["idle"], "idle")
    found = await queue_claims.release(system, _agent(record), idle, note=answers["reason"])
    frames = sum(found.values())
    return (
        f"{frames} frames of {len(found)} instances released" if found else "nobody has had anything so long"
    )


QUEUE_ACTIONS: tuple[Action, ...] = (
    Action(
        "queue.claim",
        "claim idle: let others take over",
        "write",
        lambda record, answers: ("bus", "claim", _agent(record), "--idle", answers.get("idle", "")),
        _claim,
        (Question("idle", "what an instance has had for so long", lambda _: "60s"),),
    ),
    Action(
        "queue.trim",
        "trim: move what waits to the dead letters",
        "destroy",
        lambda record, answers: ("bus", "trim", _agent(record), "--keep", answers.get("keep", "")),
        _trim,
        (Question("keep", "how many of the newest stay"),),
    ),
)

MESSAGE_ACTIONS: tuple[Action, ...] = (
    Action(
        "queue.payload",
        "show its payload",
        "read",
        lambda record, _: ("bus", "inspect", _agent(record), "--payload"),
        _payload,
        applies=lambda record: bool(record["id"]),
    ),
)
