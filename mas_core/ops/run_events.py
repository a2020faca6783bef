"""What happens while something runs, for those who watch."""

from __future__ import annotations

import contextlib
import signal
from typing import Literal

import msgspec

from mas_core.runner.supervised_instance import AgentEvent

EventKind = Literal[
    "server",
    "gateway",
    "grpc",
    "notary",
    "recorder",
    "agent",
    "problem",
    "ready",
    "stopping",
    "stopped",
    "failed",
]


class RunEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened."""

    kind: EventKind
    message: str
    hint: tuple[str, ...] = ()
    agent_id: str = ""
    number: int = 0
    """Which instance of the agent."""
    state: str = ""
    """Of an instance: started, ready, exited, restarting, gave_up, stopped, scaled or reloaded."""
    pid: int = 0
    code: str = ""
    """Of a failure: the error's code."""


def of_agent(event: AgentEvent) -> RunEvent:
    """What a supervisor tells, as an event of the run."""
    parts = {
        "started": ["starts"],
        "ready": ["ready"],
        "restarting": [event.message, f"starts again in {event.delay_s:.1f} s"],
        "gave_up": [event.message, "is not started again"],
        "stopped": ["stopped", event.message],
        "scaled": [event.message],
        "reloaded": ["reloaded", event.message],
    }.get(event.kind, [event.message])
    is_problem = event.kind in {"exited", "restarting", "gave_up", "problem"}
    return RunEvent(
        "problem" if is_problem else "agent",
        "; ".join(filter(None, parts)),
        event.hint,
        event.agent_id,
        event.number,
        event.kind,
        event.pid,
    )


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
