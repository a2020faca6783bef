"""One `Connect` stream: deliveries down, and what the agent says of them up, for as long as both are there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import InternalError, MasError, RateLimited, StoreUnreachable, UsageError
from mas_core.model.topic import TopicGap
from mas_core.protocol import agents_pb2 as wire
from mas_core.protocol.agents_pb2 import FromAgent, ToAgent
from mas_core.server.agent_messages import fault_out
from mas_core.server.callers import Context, Visit
from mas_core.server.hosted_agent import HostedAgent
from mas_core.server.hosting import Hosted
from mas_core.server.in_hand import InHand
from mas_core.server.outgoing import Outgoing

log = get_logger(__name__)

HELLO_S: Final = 10.0
"""How long a stream may take to say who it is for."""
LEAVE_S: Final = 4.0
"""How long agents are given for what is in hand when the server goes away."""
DRAIN_S: Final = 3_600.0
"""The same when they want to go themselves."""
MAX_CALLS: Final = 256
"""Things that one stream may have done at the same time beside its deliveries."""
MAX_SAID_BYTES: Final = 64 << 20
"""What a stream may have said in the course of all that it has in hand."""


class AgentStream:
    """The conversation with one agent.

    Args:
        hosted: Has the store and the token.
        visit: Who is there.
        context: The stream.
    """

    def __init__(self, hosted: Hosted, visit: Visit, context: Context) -> None:
        self._hosted = hosted
        self._visit = visit
        self._context = context
        self._agent: HostedAgent | None = None
        self._in_hand: dict[int, InHand] = {}
        self._delivered = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._said_bytes = 0
        self._outgoing = Outgoing(context)
        self._is_welcome = asyncio.Event()
        self._wants_to_go = asyncio.Event()

    async def run(self) -> None:
        """Talk until the agent hangs up, has drained, or may stay no longer.

        Raises:
            MasError: Why the stream ends before the agent wanted it to.
        """
        agent = self._agent = HostedAgent(self._visit.caller.agent_id, await self._hello(), self)
        agent.set_gateway(self._hosted)
        await agent.start()
        await self._outgoing.write(
            ToAgent(
                welcome=ToAgent.Welcome(
                    agent_id=agent.id, instance=agent.instance, time_ms=agent.client.now_ms()
                )
            )
        )
        self._is_welcome.set()
        reading = asyncio.create_task(self._read(agent))
        evicted = asyncio.create_task(agent.wait())
        leaving = asyncio.create_task(self._visit.leaving.wait())
        draining = asyncio.create_task(self._wants_to_go.wait())
        waiting = (reading, evicted, leaving, draining)
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if evicted.done():
                evicted.result()
            elif leaving.done():
                await self._outgoing.write(ToAgent(draining=ToAgent.Draining()))
                await self._drain(agent, reading, LEAVE_S)
                raise StoreUnreachable("the server is going away")
            elif draining.done():
                await self._drain(agent, reading, DRAIN_S)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await self._outgoing.flush()

    async def close(self) -> None:
        """End the agent; what it has in hand goes to another instance."""
        for task in list(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        agent = self._agent
        if agent is None:
            return
        is_crash = self._in_hand and not (
            self._visit.is_ended or self._visit.leaving.is_set() or self._wants_to_go.is_set()
        )
        await self._outgoing.close()
        try:
            if is_crash:
                await agent.abandon()
            else:
                await agent.stop(drain_timeout=0)
        except MasError as error:
            log.warning("agent.not_stopped", agent=agent.id, reason=error.message)

    # What the hosted agent needs

    async def deliver(self, about: object, what: wire.Message | ToAgent.Delivery.Task) -> InHand:
        """Hand something over."""
        await self._is_welcome.wait()
        self._delivered += 1
        in_hand = self._in_hand[self._delivered] = InHand(self._delivered, about)
        delivery = ToAgent.Delivery(number=in_hand.number)
        if isinstance(what, wire.Message):
            delivery.message.CopyFrom(what)
        else:
            delivery.task.CopyFrom(what)
        await self._outgoing.write(ToAgent(delivery=delivery))
        return in_hand

    async def answer(self, answer: ToAgent.Answer) -> None:
        """Say what became of something."""
        await self._outgoing.write(ToAgent(answer=answer))

    async def end(self, in_hand: InHand, error: MasError | None) -> None:
        """Take note that a delivery is over."""
        if self._visit.is_ended or self._context.done():
            # Nobody is there to be told, and what is in hand says how the stream ended.
            return
        self._in_hand.pop(in_hand.number, None)
        self._said_bytes -= in_hand.size
        if error is not None:
            await self._outgoing.write(
                ToAgent(ended=ToAgent.Ended(delivery=in_hand.number, error=fault_out(error)))
            )

    def gap(self, gap: TopicGap) -> None:
        """Say that messages of a topic are missing."""
        said = ToAgent(gap=ToAgent.Gap(topic=gap.topic, first=max(0, gap.first), last=max(0, gap.last)))
        self._begin(self._outgoing.write(said))

    # Inside

    async def _hello(self) -> FromAgent.Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                said = await self._context.read()
        except TimeoutError:
            raise UsageError(f"nothing was said within {HELLO_S:g} s; a stream begins with hello") from None
        if not isinstance(said, FromAgent) or not said.HasField("hello"):
            raise UsageError("a stream begins with hello")
        return said.hello

    async def _read(self, agent: HostedAgent) -> None:
        while isinstance(said := await self._context.read(), FromAgent):
            try:
                self._take(agent, said)
            except MasError as error:
                if said.id:
                    await self.answer(ToAgent.Answer(id=said.id, error=fault_out(error)))

    def _take(self, agent: HostedAgent, said: FromAgent) -> None:
        if said.HasField("drain"):
            self._wants_to_go.set()
        elif said.delivery:
            in_hand = self._in_hand.get(said.delivery)
            if in_hand is None:
                raise UsageError(f"delivery {said.delivery} is not in hand, or over")
            if self._said_bytes + said.ByteSize() > MAX_SAID_BYTES:
                raise RateLimited(f"of what is in hand, no more than {MAX_SAID_BYTES} bytes are remembered")
            self._said_bytes += in_hand.say(said)
        elif len(self._calls) >= MAX_CALLS:
            raise RateLimited(f"{MAX_CALLS} things are being done for this stream already", retry_after=1.0)
        else:
            self._begin(self._carry_out(agent, said))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _carry_out(self, agent: HostedAgent, said: FromAgent) -> None:
        try:
            answer = await agent.carry_out(said)
        except MasError as error:
            answer = ToAgent.Answer(id=said.id, error=fault_out(error))
        except Exception as error:  # noqa: BLE001 - what one call provokes must not end the others
            log.error("call.failed", agent=agent.id, call=said.WhichOneof("say"), trace=trace_of(error))
            answer = ToAgent.Answer(
                id=said.id, error=fault_out(InternalError("this could not be carried out"))
            )
        if said.id:
            await self.answer(answer)

    async def _drain(self, agent: HostedAgent, reading: asyncio.Task[None], seconds: float) -> None:
        """Take no more, and wait until all in hand is acknowledged or nobody is there to do that."""
        drained = asyncio.create_task(agent.drain(seconds))
        try:
            await asyncio.wait((drained, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            await asyncio.gather(drained, return_exceptions=True)
