"""What the dashboard knows: one object that the feed fills and screens read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mas_cli.tui.live_buffer import LiveBuffer
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_cli.tui.replay import Replay
    from mas_core.ops.stage_times import StageTimes
    from mas_core.ops.status import SystemStatus
    from mas_core.settings.target import Target


@dataclass(slots=True)
class Board:
    """What is known now."""

    target: Target
    read_only: bool = False
    """Whether nothing may be changed from here: a read-only context, --read-only, or a replay."""
    live: LiveBuffer = field(default_factory=LiveBuffer)
    status: SystemStatus | None = None
    stages: StageTimes | None = None
    """What each stage of the gateways took lately."""
    server_ms: float = 0.0
    """Milliseconds of the last round trip to the server."""
    problem: MasError | None = None
    """Why nothing new comes in, while that is so."""
    commands: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    """What the last actions would be in a shell, newest last."""
    replay: Replay | None = None
    """The recording that is shown in place of a running system."""
    tries: tuple[str, ...] = ()
    """Commands that make something happen, for screens that have nothing to show yet."""
    asleep: dict[str, float] = field(default_factory=dict)
    """Problems that were acknowledged, and until when by the monotonic clock."""
