"""A client's subscriptions: asks every partition for topics and keys, and passes on what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from mas_core.agent.subscription import Subscription
from mas_core.base.ids import partition_of
from mas_core.base.logs import get_logger
from mas_core.errors import MasError, ResourceNotFound
from mas_core.model.message import AgentMessage, Delivery
from mas_core.model.topic import RENEW_S, REPORT, SUBSCRIBE, Told, ToldTopic
from mas_core.store.contract import TopicReading

log = get_logger(__name__)

ASK_TIMEOUT_S: Final = 10.0
REFRESH_S: Final = 1.0
"""How often an entry with a key that nobody knows makes us ask at most."""
GOODBYE_S: Final = 1.0
"""How long the gateway is given to take note of the end of a subscription."""
MAX_REPORTS: Final = 32
"""Reports that are on their way at the same time; more are not made."""

Ask = Callable[[str, object, str], Awaitable[AgentMessage]]
"""Asks the gateway: type, data, and a name whose partition it goes to."""
Tell = Callable[[str, object, str], Awaitable[object]]


class TopicDesk:
    """The subscriptions of one client.

    Args:
        group: Id of the agent; instances of it share durable subscriptions.
        instance: Id of this one.
        namespace: Of the system.
        logs: The logs.
        ask, tell: Reach the gateway.
        now_ms: The server's clock.
        received: Makes messages of deliveries.
    """

    def __init__(
        self,
        group: str,
        instance: str,
        namespace: str,
        logs: TopicReading,
        *,
        ask: Ask,
        tell: Tell,
        now_ms: Callable[[], int],
        received: Callable[[Delivery], Awaitable[AgentMessage]],
    ) -> None:
        self.group = group
        self.instance = instance
        self.namespace = namespace
        self.logs = logs
        self._ask = ask
        self._tell = tell
        self._now_ms = now_ms
        self._received = received
        self._subscriptions: list[Subscription] = []
        self._renewing: asyncio.Task[None] | None = None
        self._asking = asyncio.Lock()
        self._asked_at = 0.0
        self._layout = logs.layout
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget: tuple[str, ...] = ()

    def now_ms(self) -> int:
        """The server's clock in Unix milliseconds, by estimate."""
        return self._now_ms()

    async def received(self, delivery: Delivery) -> AgentMessage:
        """A delivery as the message that it is, its signature checked."""
        return await self._received(delivery)

    async def add(self, subscription: Subscription) -> None:
        """Ask for what a subscription wants, now and from then on.

        Raises:
            GatewayDown: No gateway answers.
        """
        self._subscriptions.append(subscription)
        await self._renew()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_up())

    async def remove(self, subscription: Subscription) -> None:
        """Ask for it no more; the gateway is told, if it listens, and forgets it otherwise."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        with contextlib.suppress(MasError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._renew()

    async def forget(self, pattern: str) -> None:
        """Give up the place that the agent keeps in the logs that match a pattern.

        Raises:
            GatewayDown: No gateway answers.
        """
        while True:
            layout, partitions = self.logs.layout, self.logs.partitions
            for partition in range(partitions):
                data = {**self._wanted(), "forget": [pattern]}
                await self._ask(SUBSCRIBE, data, route_to(partition, partitions))
                if layout != self.logs.layout:
                    # The question went elsewhere.
                    break
                await self.logs.drop_groups(partition, f"{self.group}/{pattern}")
            else:
                return

    async def stop(self) -> None:
        """End all subscriptions."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None
        # One word for all of them.
        ending, self._subscriptions = self._subscriptions, []
        for subscription in ending:
            await subscription.stop()
        if ending:
            with contextlib.suppress(MasError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._renew()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Ask again, unless that was just done; errors are left to the next time."""
        if time.monotonic() - self._asked_at < REFRESH_S:
            await asyncio.sleep(REFRESH_S)
        with contextlib.suppress(MasError):
            await self._renew()

    def take_news(self, delivery: Delivery) -> None:
        """The gateway tells of topics that have appeared, or whose key was replaced."""
        told = msgspec.json.decode(delivery.data, type=Told)
        self._start(self._take_told(told))

    def report(self, topic: str, entry: str, code: str, message_id: str = "") -> None:
        """Tell the gateway what is wrong with an entry; it does not matter if that is lost."""
        if len(self._tasks) < MAX_REPORTS:
            data = {"topic": topic, "entry": entry, "code": code[:64], "message_id": message_id}
            self._start(self._report(data, f"topic:{topic}"))

    async def _report(self, data: dict[str, str], route: str) -> None:
        with contextlib.suppress(MasError):
            await self._tell(REPORT, data, route)

    def _start(self, work: Awaitable[None]) -> None:
        async def carried_out() -> None:
            with contextlib.suppress(MasError):
                await work

        task = asyncio.create_task(carried_out())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_up(self) -> None:
        while True:
            renew_at = time.monotonic() + RENEW_S
            while True:
                await asyncio.sleep(REFRESH_S)
                if time.monotonic() > renew_at or self._layout != self.logs.layout:
                    break
            try:
                await self._renew()
            except MasError as error:
                log.warning("subscription.unconfirmed", agent=self.group, reason=error.message)
            for subscription in list(self._subscriptions):
                await subscription.reader.look_after()

    def _wanted(self) -> dict[str, list[str]]:
        wanted: dict[str, list[str]] = {"live": [], "durable": []}
        for subscription in self._subscriptions:
            patterns = wanted["durable" if subscription.durable else "live"]
            if subscription.pattern not in patterns:
                patterns.append(subscription.pattern)
        return wanted

    async def _renew(self) -> None:
        async with self._asking:
            while True:
                asked = list(self._subscriptions)
                wanted = self._wanted()
                partitions = self.logs.partitions
                routes = [route_to(partition, partitions) for partition in range(partitions)]
                answers = await asyncio.gather(*(self._renew_in(route, wanted) for route in routes))
                self._asked_at = time.monotonic()
                if self._layout == self.logs.layout:
                    break
                # Asking has found out that there are more partitions now, or fewer.
                self._layout = self.logs.layout
                for subscription in asked:
                    subscription.reader.follow_layout()
            told = {topic.name for topics, _ in answers for topic in topics}
            for subscription in asked:
                for name in list(subscription.reader.places):
                    if name not in told:
                        subscription.lost(name)
                subscription.reader.began(min(now for _, now in answers))

    async def _renew_in(self, route: str, wanted: dict[str, list[str]]) -> tuple[list[ToldTopic], int]:
        """Ask one partition, page by page; the topics, and when it answered first."""
        found: list[ToldTopic] = []
        after, now = "", 0
        while True:
            reply = await self._ask(SUBSCRIBE, {**wanted, "after": after}, route)
            told = msgspec.convert(reply.data, Told)
            now = now or told.now
            for subscription in list(self._subscriptions):
                if subscription.pattern in told.refused:
                    subscription.refused(told.refused[subscription.pattern])
            await self._take_topics(told)
            found += told.topics
            after = told.more
            if not after:
                return found, now

    async def _take_told(self, told: Told) -> None:
        try:
            await self._take_topics(told)
        except ResourceNotFound:
            # With the log the store lost that a place is kept in it; asking again has that noted.
            await self.refresh()

    async def _take_topics(self, told: Told) -> None:
        for topic in told.topics:
            for subscription in list(self._subscriptions):
                if subscription.fits(topic.name):
                    await subscription.reader.told(topic, told.since.get(subscription.pattern, 0))


def route_to(partition: int, partitions: int) -> str:
    """A name that belongs to one of so many partitions."""
    number = 0
    while partition_of(f"route-{number}", partitions) != partition:
        number += 1
    return f"route-{number}"
