"""What can be done to queues and to the messages in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.input.durations import parse_duration
from mas_cli.input.time_ranges import parse_range
from mas_cli.output.columns import Record
from mas_cli.output.moments import moment
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from mas_core.model.audit_record import AuditRecord
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


async def _replayable(system: System, record: Record, answers: Answers) -> list[AuditRecord]:
    from mas_core.ops import replays
    from mas_core.ops.audit_questions import note_question

    since = parse_range(answers["since"], None).since or 0
    await note_question(system, "bus.replay", {"agent": _agent(record), "payloads": True})
    found, without = await replays.replayable(system, _agent(record), since=since)
    if not found:
        raise NotFound(
            f"no message to {_agent(record)} since then has a copy of its payload ({without} have none)",
            hint="audit: {payloads: {GLOB: POINTER}} in policy.yaml keeps copies from then on",
        )
    return found


async def _would_replay(system: System, record: Record, answers: Answers) -> str:
    found = await _replayable(system, record, answers)
    lines = [f"{moment(item.time)}  {item.sender}  {item.type}  {item.message_id}" for item in found]
    return "\n".join([f"{len(found)} would be sent again", *lines])


async def _replay(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import replays

    found = await _replayable(system, record, answers)
    done = [item async for item in replays.replay(system, found, to=answers["to"])]
    failed = [item.error for item in done if item.error is not None]
    if failed and len(failed) == len(done):
        raise failed[0]
    return f"{len(done) - len(failed)} sent again" + (f"; {len(failed)} were not" if failed else "")


def _replay_words(record: Record, answers: Answers) -> tuple[str, ...]:
    since, to = answers.get("since", ""), answers.get("to", "")
    return ("bus", "replay", "--agent", _agent(record), "--since", since, *(("--to", to) if to else ()))


_SINCE = Question("since", "what it was sent since, such as 10m", lambda _: "10m")

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
        "queue.replay",
        "send again what it was sent",
        "write",
        _replay_words,
        _replay,
        (_SINCE, Question("to", "to; the same agent if empty", is_required=False)),
    ),
    Action(
        "queue.replayable",
        "list what could be sent again",
        "read",
        lambda record, answers: (*_replay_words(record, answers), "--dry-run"),
        _would_replay,
        (_SINCE,),
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
