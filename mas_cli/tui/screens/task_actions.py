"""What can be done to tasks, votes and leaders; all of it as the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.input.payload import parse_value
from mas_cli.output.columns import Record
from mas_cli.output.coordination_rows import DEFAULT_QUEUE
from mas_cli.tui.actions import Action, Answers, Question

if TYPE_CHECKING:
    from mas_core.ops.system import System


async def _assign(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import tasks

    async with tasks.supervisor(system, answers["queue"]) as boss:
        assigned = await boss.assign(
            answers["type"], parse_value(answers["payload"] or "{}"), to=answers["to"]
        )
    return f"assigned as {assigned}"


async def _cancel(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import tasks

    async with tasks.supervisor(system, str(record["queue"])) as boss:
        found = await boss.cancel(str(record["id"]), answers["reason"])
    return f"{record['id']} is {found.status}"


async def _retry(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import tasks

    async with tasks.supervisor(system, str(record["queue"])) as boss:
        found = await boss.retry(str(record["id"]))
    return f"{record['id']} is {found.status}"


async def _vote(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import consensus

    async with consensus.consensus(system, answers["as"]) as votes:
        outcome = await votes.vote(str(record["id"]), answers["choice"].split() or None)
    return f"{answers['as']}: {outcome}"


async def _depose(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import leaders

    await leaders.depose(system, str(record["group"]))
    return f"nobody leads {record['group']} now; whoever waits longest is next"


def _queue(name: object) -> tuple[str, ...]:
    return ("--queue", str(name)) if name not in ("", DEFAULT_QUEUE) else ()


def _assign_words(_: Record, answers: Answers) -> tuple[str, ...]:
    to = answers.get("to", "")
    return (
        *("task", "assign", answers.get("type", ""), answers.get("payload", "")),
        *(("--to", to) if to else ()),
        *_queue(answers.get("queue", "")),
    )


def _task_words(command: str, record: Record) -> tuple[str, ...]:
    return ("task", command, str(record["id"]), *_queue(record["queue"]))


ASSIGN = Action(
    "task.assign", "assign a task", "write", _assign_words, _assign,
    (
        Question("type", "type"),
        Question("payload", "parameters (JSON)", lambda _: "{}"),
        Question("to", "the only agent who may take it", is_required=False),
        Question("queue", "queue", lambda _: DEFAULT_QUEUE),
    ),
)  # fmt: skip
TASK_ACTIONS = (
    ASSIGN,
    Action(
        "task.retry", "try it again", "write", lambda record, _: _task_words("retry", record), _retry,
        applies=lambda record: record.get("status") in ("failed", "cancelled"),
    ),
    Action(
        "task.cancel", "cancel", "destroy", lambda record, _: _task_words("cancel", record), _cancel,
        applies=lambda record: record.get("status") in ("waiting", "running"),
    ),
)  # fmt: skip
VOTE_ACTIONS = (
    Action(
        "vote.cast", "vote", "write",
        lambda record, answers: (
            *("consensus", "vote", str(record["id"]), *answers.get("choice", "").split()),
            *("--as", answers.get("as", "")),
        ),
        _vote,
        (
            Question("choice", "choice; in a ranked vote several, the best first"),
            Question("as", "as agent", lambda _: "operator"),
        ),
        lambda record: record.get("state") == "open",
    ),
)  # fmt: skip
LEADER_ACTIONS = (
    Action(
        "leader.depose", "make the leader step down", "destroy",
        lambda record, _: ("leader", "resign", str(record["group"])), _depose,
        applies=lambda record: bool(record.get("leader")),
    ),
)  # fmt: skip
