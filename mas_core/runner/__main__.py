"""`python -m mas_core.runner`: the agents of the project, in the foreground; `mas agent run --all` as a module."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from mas_core.base.logs import get_logger
from mas_core.base.stop_signals import run_service
from mas_core.ops.agent_runs import run_agents
from mas_core.ops.run_events import RunEvent
from mas_core.ops.spec_choice import SpecChoice
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target

log = get_logger("mas_core.runner")


def main() -> int:
    """Run the agents until they are told to stop; returns the exit code."""
    return run_service(_serve, "agents.failed")


async def _serve(stop: asyncio.Event) -> bool:
    async with System(resolve_target()) as system:
        return await run_agents(system, SpecChoice(), stop, _report)


def _report(event: RunEvent) -> None:
    facts = msgspec.structs.asdict(event)
    log.info("agents", **{name: value for name, value in facts.items() if value})


if __name__ == "__main__":
    sys.exit(main())
