"""Starts of a message that came to nothing, because the instance that held it died.

Agents note in their own work hash which instance starts what (`store/scripts/start.lua`), and who held a frame
first (`claim.lua`); so this says no more than the agent itself could say, and is read within bounds.
"""

from __future__ import annotations

import re

from mas_core.model.message import Attempt

MAX_READ = 100
"""Starts of one message that are looked at."""

_MARK = re.compile(r"(\*|[0-9]{1,6})=([0-9]{1,15})=([0-9A-Za-z_-]{1,64})(?= |\Z)")


def burned_starts(marks: str, position: int, instance: str, attempt: int) -> list[Attempt]:
    """The attempts that died with their instances, the oldest first.

    Args:
        marks: What is noted of the frame.
        position: Which message of it.
        instance: Who holds it now, and so is alive.
        attempt: The number of the delivery: the first of these attempts has it.
    """
    holder: list[tuple[int, str, str]] = []
    starts: list[tuple[int, str, str]] = []
    for subject, at, who in _MARK.findall(marks):
        if subject == "*":
            holder = [(int(at), who, "the instance that held it died, and may have started it")]
        elif int(subject) == position and who != instance:
            starts.append((int(at), who, "the instance that started it died before it was done"))
    # The start of a message that comes again is always noted, so there holding it is no attempt. And where nobody
    # died after a noted start, the holder died of something else.
    found = [*holder, *starts] if starts and attempt == 1 else starts
    return [
        Attempt(attempt + number, at, "died", reason, who)
        for number, (at, who, reason) in enumerate(found[:MAX_READ])
    ]
