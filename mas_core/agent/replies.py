"""What comes back to one running instance: receipts of what it sent, replies to what it asked, directives."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from mas_core.agent.link import Link
from mas_core.base.ids import GATEWAY
from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed, MasError, NotStarted, Unauthenticated
from mas_core.model.frame import DELIVERIES_DECODER, RECEIPTS_DECODER, UNREADABLE, Frame, FrameReceipt, Place
from mas_core.model.message import STANDING, UNAUTHENTIC_DELIVERY, Delivery, Flag
from mas_core.model.standing import Directive
from mas_core.model.topic import NEWS
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

_BLOCK_MS = 1000
_RECONNECT_S = 0.3
_SHUT_OUT_S = 5.0
"""Whoever is not let in tries again that seldom: each time is recorded."""
_KEPT_BYTES = 65_536
"""What was read is dropped when it has so many bytes: each time costs the server a write to disk."""
MAX_LATE_REPLIES = 64
"""Requests under ids of their senders' own whose replies are kept for whoever asks again."""
_ENTRY_BYTES = 256
"""About what an entry takes besides its body."""


class Replies:
    """Reads an instance's stream of replies and hands on what is in it.

    Args:
        link: Opens frames.
        store: The agent's streams.
        on_receipts: Takes the receipts of frames.
        on_directive: Takes what an operator said of the agent.
        on_news: Takes what the gateway tells of topics.
        on_shut_out: Called when the server does not let the agent's own user in.
    """

    def __init__(
        self,
        link: Link,
        store: AgentStreams,
        on_receipts: Callable[[Sequence[FrameReceipt]], None],
        on_directive: Callable[[Directive], None],
        on_news: Callable[[Delivery], None],
        on_shut_out: Callable[[], None] = lambda: None,
    ) -> None:
        self._link = link
        self._store = store
        self._on_receipts = on_receipts
        self._on_directive = on_directive
        self._on_news = on_news
        self._on_shut_out = on_shut_out
        self._expected: dict[str, asyncio.Future[Delivery]] = {}
        self._late: OrderedDict[str, Delivery | None] = OrderedDict()
        """Ids that may be asked for again, and the reply where it came after all."""
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether it reads."""
        return self._reading is not None

    def start(self) -> None:
        """Start reading."""
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Stop; who still waits for a reply is told so, and what was not read is dropped."""
        if self._reading is None:
            return
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._reading = None
        for future in self._expected.values():
            if not future.done():
                future.set_exception(NotStarted("the agent stopped before the reply came"))
                future.exception()
        with contextlib.suppress(MasError):
            await self._store.drop_replies(self._link.instance)

    def expect(self, message_id: str) -> asyncio.Future[Delivery]:
        """The final reply to a message, once it comes; `forget` it in any case."""
        answer: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        late = self._late.pop(message_id, None)
        if late is not None:
            answer.set_result(late)
        self._expected[message_id] = answer
        return answer

    def forget(self, message_id: str, *, keep: bool = False) -> None:
        """Nobody waits for this reply any more; with `keep` somebody may wait for it again."""
        answer = self._expected.pop(message_id, None)
        if keep and answer is not None:
            is_there = answer.done() and not answer.cancelled() and answer.exception() is None
            self._late[message_id] = answer.result() if is_there else None
            if len(self._late) > MAX_LATE_REPLIES:
                self._late.popitem(last=False)

    async def _read(self) -> None:
        after = "0-0"
        kept = 0
        was_away = False
        while True:
            try:
                if was_away:
                    # Nobody keeps for ever what tells of a change.
                    await self._store.follow_layout()
                    was_away = False
                entries = await self._store.read_replies(self._link.instance, after, _BLOCK_MS)
                for entry, frame in entries:
                    after = entry
                    kept += _ENTRY_BYTES + len(frame.body)
                    self._take(frame)
                if kept >= _KEPT_BYTES or (kept and not entries):
                    await self._store.trim_replies(self._link.instance, after)
                    kept = 0
            except Unauthenticated as error:
                log.error("login.refused", agent=self._store.agent_id, reason=error.message)
                self._on_shut_out()
                await asyncio.sleep(_SHUT_OUT_S)
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                was_away = True
                await asyncio.sleep(_RECONNECT_S)

    def _take(self, frame: Frame) -> None:
        try:
            header, body = self._link.open(frame, Place.RECEIPTS, Place.REPLIES)
            if header.place is Place.RECEIPTS:
                self._on_receipts(RECEIPTS_DECODER.decode(body))
            else:
                for delivery in DELIVERIES_DECODER.decode(body):
                    self._take_reply(delivery)
        except (DecryptionFailed, *UNREADABLE) as error:
            agent_id = self._store.agent_id
            log.error("delivery.refused", agent=agent_id, code=UNAUTHENTIC_DELIVERY, reason=str(error))

    def _take_reply(self, delivery: Delivery) -> None:
        if delivery.sender == GATEWAY and delivery.type == STANDING:
            self._on_directive(msgspec.json.decode(delivery.data, type=Directive))
            return
        if delivery.sender == GATEWAY and delivery.type == NEWS:
            self._on_news(delivery)
            return
        if delivery.flags & Flag.PARTIAL:
            return
        future = self._expected.get(delivery.correlation)
        if future is None:
            if delivery.correlation in self._late:
                self._late[delivery.correlation] = delivery
        elif not future.done():
            future.set_result(delivery)
