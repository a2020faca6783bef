"""The receiving process of `mas bench`: handles messages and notes when each came first."""

from __future__ import annotations

import asyncio
import sys
import time
from array import array

import msgspec

from mas_core.agent.agent import Agent
from mas_core.base.event_loop import run
from mas_core.model.message import AgentMessage
from mas_core.ops.bench import MESSAGE_TYPE, SETTLE_SECONDS, ReceiverLaunch, ReceiverReport


class Receiver(Agent[dict[str, object]]):
    """Counts what it gets."""

    def prepare(self, messages: int) -> None:
        """Make room for the times of so many messages."""
        self.handled_ns = array("q", bytes(8 * messages))
        self.duplicated = 0
        self.distinct = 0

    @Agent.on(MESSAGE_TYPE)
    async def take(self, message: AgentMessage) -> None:
        """Note the time of the first arrival."""
        number = message.data["number"]
        if isinstance(number, int):
            if self.handled_ns[number]:
                self.duplicated += 1
            else:
                self.handled_ns[number] = time.monotonic_ns()
                self.distinct += 1


async def _main(launch: ReceiverLaunch) -> None:
    agent = Receiver(
        launch.agent_id,
        redis_url=launch.url,
        namespace=launch.namespace,
        partitions=launch.partitions,
        token=launch.token,
        max_in_flight=256,
    )
    agent.prepare(launch.messages)
    async with agent:
        sys.stdout.buffer.write(b"ready\n")
        sys.stdout.buffer.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
        await _until_quiet(agent)
    report = ReceiverReport(agent.handled_ns.tolist(), agent.duplicated)
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def _until_quiet(agent: Receiver) -> None:
    """Wait until nothing has come for a while, or for what was sent last at most."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = -1
    while time.monotonic() < deadline and before != agent.distinct:
        before = agent.distinct
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=ReceiverLaunch)))
