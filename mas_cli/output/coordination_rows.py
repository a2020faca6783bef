"""Tasks, votes and leaders as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_core.model.vote import ACCEPTED, REJECTED

if TYPE_CHECKING:
    from mas_core.ops.consensus import VoteRow
    from mas_core.ops.leaders import Group
    from mas_core.ops.tasks import Task

DEFAULT_QUEUE: Final = "default"
_TASK_STYLES: Final[dict[str, Style]] = {"done": "good", "failed": "bad", "cancelled": "dim"}
_VOTE_STYLES: Final[dict[str, Style]] = {ACCEPTED: "good", REJECTED: "bad", "escalated": "warn"}


def task_style(status: object) -> Style | None:
    """How the state of a task is painted."""
    return _TASK_STYLES.get(str(status))


def vote_style(state: object) -> Style | None:
    """How the state of a vote is painted."""
    return _VOTE_STYLES.get(str(state))


TASK_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("type", flexible=True),
    Column("agent"),
    Column("status", style=task_style),
    Column("progress", kind="number"),
    Column("age", kind="age"),
    Column("tries", kind="number"),
    Column("queue", usual=DEFAULT_QUEUE),
)
VOTE_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("title", flexible=True),
    Column("state", style=vote_style),
    Column("choice"),
    Column("strategy"),
    Column("round", kind="number"),
    Column("voted", kind="number"),
    Column("participants", kind="number"),
    Column("deadline", kind="time"),
)
LEADER_COLUMNS = (
    Column("group", style=lambda _: "name"),
    Column("leader"),
    Column("term", kind="number"),
    Column("since", kind="age"),
    Column("lease", kind="duration"),
    Column("instance"),
)


def task_row(task: Task) -> Record:
    """One task."""
    return {
        "id": task.id,
        "type": task.type,
        "agent": task.worker or task.agent or None,
        "status": task.status,
        "progress": task.progress,
        "age": moment(task.created),
        "tries": task.attempt,
        "queue": task.queue,
    }


def vote_row(row: VoteRow) -> Record:
    """One vote."""
    return {
        "id": row.id,
        "title": row.title,
        "state": row.state,
        "choice": row.choice or None,
        "strategy": row.strategy,
        "round": row.round,
        "voted": row.voted,
        "participants": row.participants,
        "deadline": moment(row.deadline) if row.deadline else None,
    }


def leader_row(group: Group) -> Record:
    """One group and who leads it."""
    is_led = bool(group.leader)
    return {
        "group": group.name,
        "leader": group.leader or None,
        "term": group.term,
        "since": moment(group.since) if is_led else None,
        "lease": group.lease_ms / 1000,
        "instance": group.instance or None,
    }
