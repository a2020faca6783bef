"""What an agent needs of a system, wherever it lies: on a server of its own, or behind one that speaks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mas_core.errors import MasError
from mas_core.model.frame import Frame
from mas_core.store.agents import SILENT_MS, ClaimedFrame, Settlement
from mas_core.store.keys import Layout
from mas_core.store.stored import StoredFrame
from mas_core.store.topics import Consumer, LogEntry


class AgentStreams(Protocol):
    """The streams and the state of one agent; `store.agents.AgentStore` says what each call does."""

    agent_id: str

    @property
    def layout(self) -> Layout:
        """The layout in force, as far as it is known here."""

    async def follow_profile(self) -> None:
        """Wait for replicas wherever the gateways of the system do."""

    async def follow_layout(self) -> bool:
        """Go over to the layout in force; whether there is another than before, or there was a wait."""

    async def registration(self) -> dict[str, bytes]:
        """All fields of the agent's own registration."""

    async def create_inboxes(self) -> None:
        """Make the inboxes; those that exist stay as they are."""

    async def add_frames(self, frames: Sequence[tuple[int, str, Frame]]) -> list[MasError | None]:
        """Add sealed frames, each with its partition and lane; for each why it was not taken."""

    async def read_inbox(self, consumer: str, counts: Mapping[str, int], block_ms: int) -> list[StoredFrame]:
        """New frames, at most `counts` of each lane; waits up to `block_ms` when there are none."""

    async def read_pending(self, consumer: str) -> list[ClaimedFrame]:
        """Frames that were given to this consumer and are not settled."""

    async def read_replies(self, instance: str, after: str, block_ms: int) -> list[tuple[str, Frame]]:
        """Replies and receipts after `after`; waits when there are none."""

    async def trim_replies(self, instance: str, to: str) -> None:
        """Drop replies and receipts up to `to`."""

    async def drop_replies(self, instance: str) -> None:
        """Delete the replies stream of an instance that ends."""

    async def settle(self, consumer: str, settlements: Sequence[Settlement]) -> list[int]:
        """Settle handled messages; for each how many were new, or why none."""

    async def claim(
        self, consumer: str, alive_ms: int, most: int, silent_ms: int = SILENT_MS
    ) -> list[ClaimedFrame]:
        """Take over frames of instances that are gone."""

    async def was_handled(self, mark: str) -> bool:
        """Whether a message that may take effect once was settled before."""

    async def mark_started(self, consumer: str, lane: str, entry: str, position: int) -> int:
        """Note that the handler of a message starts; which of the noted starts this is."""

    async def forget_starts(self, consumer: str, places: Sequence[tuple[str, str, int]]) -> None:
        """Take back that `consumer` noted the starts of these messages."""

    async def get_state(self) -> tuple[int, bytes]:
        """Revision and JSON text of the state."""

    async def ordered_state_revision(self) -> int:
        """Revision at which an operator set the state last."""

    async def set_state(
        self, expected_revision: int | None, data: bytes, *, fence: tuple[str, int] | None = None
    ) -> tuple[bool, int]:
        """Replace the state if its revision is still the expected one; the revision now stored."""

    async def backlog(self) -> dict[str, int]:
        """Unsettled messages of each lane."""


class TopicReading(Protocol):
    """The logs of topics as a subscriber needs them; `store.topics.TopicLogs` says what each call does."""

    @property
    def partitions(self) -> int:
        """Number of partitions, as far as it is known here."""

    @property
    def layout(self) -> int:
        """Number of the layout that is in force, as far as it is known here."""

    async def read(self, partition: int, after: Mapping[str, str], block_ms: int) -> list[LogEntry]:
        """Entries of logs of a partition."""

    async def read_group(
        self, partition: int, topics: Sequence[str], group: str, consumer: str, block_ms: int
    ) -> list[LogEntry]:
        """Entries of logs of a partition that nobody of a group has got."""

    async def read_own(self, partition: int, topic: str, group: str, consumer: str) -> list[LogEntry]:
        """Entries that this consumer was given and has not acknowledged."""

    async def create_group(self, partition: int, topic: str, group: str, after: str) -> int:
        """Make a group's place in a log where it has none; the last message that it was given."""

    async def drop_group(self, partition: int, topic: str, group: str) -> None:
        """Give up a group's place in a log."""

    async def drop_groups(self, partition: int, group: str) -> None:
        """Give up a group's place in all logs of a partition."""

    async def acknowledge(self, entries: Sequence[tuple[int, str, str]], group: str) -> None:
        """Say that entries (partition, topic, entry) were handled."""

    async def consumers(self, partition: int, topic: str, group: str) -> list[Consumer]:
        """Who reads a log together."""

    async def take_over(self, partition: int, topic: str, group: str, consumer: str, gone: str) -> int:
        """Put what a consumer that is gone had in hand into the hands of another one."""

    async def leave(self, places: Sequence[tuple[int, str]], group: str, consumer: str) -> None:
        """Take a consumer out of its group in these logs."""


class AgentSide(Protocol):
    """A system as an agent sees it."""

    @property
    def namespace(self) -> str:
        """Part of what seals are bound to."""

    @property
    def partitions(self) -> int:
        """Number of partitions, as far as it is known here."""

    @property
    def topics(self) -> TopicReading:
        """The logs of topics."""

    def agent(self, agent_id: str) -> AgentStreams:
        """The streams and the state of an agent."""

    async def time_ms(self) -> int:
        """The server's clock, in Unix milliseconds."""

    async def close(self) -> None:
        """Close all connections."""
