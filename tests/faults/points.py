"""Every failpoint of the product, and how late a process may be made to get there."""

from __future__ import annotations

from collections.abc import Mapping

GATEWAY_POINTS: Mapping[str, int] = {
    "gateway.heartbeat": 4,
    "gateway.acquired": 1,
    "gateway.loaded": 1,
    "gateway.read": 20,
    "gateway.taken": 20,
    "gateway.opened": 20,
    "gateway.looked_up": 20,
    "gateway.judged": 20,
    "gateway.before_commit": 20,
    "gateway.after_commit": 20,
    "gateway.before_answer": 20,
    "gateway.after_answer": 20,
    "gateway.before_renew": 3,
    "gateway.after_renew": 3,
    "gateway.starting_over": 2,
    "gateway.before_release": 1,
    "gateway.after_release": 1,
}
"""Failpoint -> the latest time that a gateway is killed when it gets there."""

COUNTER_POINTS: Mapping[str, int] = {
    "agent.attached": 1,
    "agent.read": 20,
    "agent.claimed": 1,
    "agent.marked_started": 3,
    "agent.before_handler": 30,
    "agent.after_handler": 30,
    "agent.before_settle": 30,
    "agent.after_settle": 30,
}
"""The same for agents that keep a state."""

RECEIVER_POINTS: Mapping[str, int] = {"agent.before_hand_back": 3, "agent.after_hand_back": 3}
"""The same for agents that hand messages back."""

SENDER_POINTS: Mapping[str, int] = {"outbox.before_add": 20, "outbox.after_add": 20, "outbox.receipt": 20}
"""The same for agents that send."""

COMMAND_POINTS = (
    "partitions.agent_moved",
    "partitions.due_moved",
    "partitions.letters_written",
    "partitions.letters_moved",
    "partitions.opened",
)
"""Steps of a command, at which tests/integration/test_partitions.py kills it."""

ALL_POINTS = {**GATEWAY_POINTS, **COUNTER_POINTS, **RECEIVER_POINTS, **SENDER_POINTS}
