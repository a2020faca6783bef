"""`python -m mas_core.runner`: the agents of the project, in the foreground; `mas agent run --all` as a module."""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.errors import MasError
from mas_core.ops.agent_runs import run_agents
from mas_core.ops.run_events import RunEvent
from mas_core.ops.spec_choice import SpecChoice
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target

log = get_logger("mas_core.runner")


async def _main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def report(event: RunEvent) -> None:
        facts = msgspec.structs.asdict(event)
        log.info("agents", **{name: value for name, value in facts.items() if value})

    try:
        async with System(resolve_target()) as system:
            drained = await run_agents(system, SpecChoice(), stop, report)
    except MasError as error:
        log.error("agents.failed", code=error.code, reason=error.message, hint=error.hint)
        return 1
    return 0 if drained else 1


if __name__ == "__main__":
    log_to_stderr(of_everybody=True)
    sys.exit(run(_main()))
