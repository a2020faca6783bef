"""What runs in the processes of those who want to lead: they campaign, write while they lead, and note all of it.

A ledger has a line for each operation, with times in nanoseconds of the clock that all processes share:

    w GROUP CALLED RETURNED VALUE TERM   a write was answered
    x GROUP CALLED RETURNED VALUE TERM   a write was refused: a later leader has spoken
    u GROUP CALLED RETURNED VALUE TERM   nobody said what became of a write
    l GROUP TIME TERM                    elected
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

from mas_core import Agent, MasError
from mas_core.base.event_loop import run
from mas_core.base.logs import log_to_stderr
from mas_core.errors import Forbidden
from tests.faults.load import Ledger

REGISTER = "register"
PAUSE_S = 0.05
ANSWER_S = 1.0


def candidate(arguments: dict[str, Any]) -> int:
    """Campaign for all groups until killed."""
    log_to_stderr()
    return run(_candidate(arguments)) or 0


async def _candidate(arguments: dict[str, Any]) -> None:
    ledger = Ledger(arguments["ledger"])
    agent: Agent[Any] = Agent(
        arguments["id"],
        redis_url=arguments["url"],
        token=arguments["token"],
        namespace=arguments["namespace"],
        partitions=arguments["partitions"],
    )
    async with agent:
        ledger.write("ready")
        await asyncio.gather(
            *(_lead(agent, group, arguments["lease"], ledger) for group in arguments["groups"])
        )


async def _lead(agent: Agent[Any], group: str, lease: float, ledger: Ledger) -> None:
    number = 0
    while True:
        # Who waits first is different for each group.
        await asyncio.sleep(random.uniform(0, 0.3))
        with contextlib.suppress(MasError):
            async with agent.leadership(group, lease=lease) as leading:
                ledger.write("l", group, time.monotonic_ns(), leading.term)
                while True:
                    number += 1
                    value = f"{agent.id}-{leading.term}-{number}"
                    headers = leading.headers
                    # A pause that hits it here makes it write in a term that is over, and not know it.
                    await asyncio.sleep(PAUSE_S)
                    await asyncio.shield(_write(agent, group, value, leading.term, headers, ledger))


async def _write(
    agent: Agent[Any], group: str, value: str, term: int, headers: dict[str, str], ledger: Ledger
) -> None:
    """One write; it was under way when a pause hit it, so its fence may be of a term that is over."""
    called, kind = time.monotonic_ns(), "u"
    try:
        data = {"group": group, "value": value, "term": term}
        await agent.request(REGISTER, "write", data, timeout=ANSWER_S, headers=headers)
        kind = "w"
    except Forbidden:
        kind = "x"
    except MasError:
        pass
    finally:
        ledger.write(kind, group, called, time.monotonic_ns(), value, term)
