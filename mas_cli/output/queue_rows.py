"""Queues and the messages in them, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_core.model.message import Flag

if TYPE_CHECKING:
    from mas_core.ops.queues import Lane, Queue, QueuedMessage

QUEUE_COLUMNS = (
    Column("agent", style=lambda _: "name", whole=True),
    Column("waiting", kind="number"),
    Column("in_hand", kind="number"),
    Column("oldest", kind="duration"),
    Column("lag", kind="duration"),
    Column("in_s", header="in/s", kind="number"),
    Column("out_s", header="out/s", kind="number"),
    Column("retries", kind="number"),
    Column("deliveries", kind="number"),
    Column("consumers", kind="number"),
)
LANE_COLUMN = Column("lane")
MESSAGE_COLUMNS = (
    Column("id", style=lambda _: "name", flexible=True),
    Column("age", kind="duration"),
    Column("consumer"),
    Column("idle", kind="duration"),
    Column("deliveries", kind="number"),
    Column("type", flexible=True),
    Column("from"),
    Column("lane"),
    Column("problem", flexible=True, usual=None),
)
CLAIM_COLUMNS = (
    Column("consumer"),
    Column("frames", kind="number"),
    Column("result"),
)
TRIM_COLUMNS = (
    Column("agent", style=lambda _: "name"),
    Column("messages", kind="number"),
    Column("stay", kind="number"),
    Column("oldest", kind="duration"),
)


def queue_row(queue: Queue) -> Record:
    """A queue with all its lanes."""
    return {
        "agent": queue.agent_id,
        **_lane(queue.total),
        "lag": queue.lag,
        "in_s": _rate(queue.in_rate),
        "out_s": _rate(queue.out_rate),
        "retries": queue.retries,
        "consumers": len(queue.consumers),
        "idle": queue.idle,
        "instances": dict(queue.consumers),
        "lanes": {name: _lane(lane) for name, lane in queue.lanes.items()},
    }


def lane_rows(queue: Queue) -> list[Record]:
    """A queue, a row for each lane."""
    return [{"agent": queue.agent_id, "lane": name, **_lane(lane)} for name, lane in queue.lanes.items()]


def _lane(lane: Lane) -> dict[str, object]:
    return {
        "waiting": lane.waiting,
        "in_hand": lane.in_hand,
        "oldest": lane.oldest,
        "deliveries": lane.deliveries,
    }


def _rate(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def message_row(item: QueuedMessage, *, payload: bool = False) -> Record:
    """A message in a queue; its payload only where it is asked for."""
    message = item.message
    row: dict[str, object] = {
        "id": message.id if message else None,
        "state": "in hand" if item.consumer else "waiting",
        "age": item.age,
        "consumer": item.consumer or None,
        "idle": item.idle,
        "deliveries": item.deliveries,
        "type": message.type if message else None,
        "from": message.sender if message else None,
        "lane": item.lane,
        "place": f"{item.entry}:{item.position}",
        "messages": item.count,
        "problem": item.problem or None,
    }
    if message is not None:
        row |= {
            "bytes": len(message.data),
            "priority": message.priority,
            "attempt": message.attempt,
            "accepted": moment(message.accepted_at),
            "expires": moment(message.expires_at),
            "expects_reply": bool(message.flags & Flag.EXPECTS_REPLY),
            "encrypted": bool(message.flags & Flag.ENCRYPTED),
        }
    if payload:
        row["payload"] = item.payload
    return row
