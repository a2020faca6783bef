"""What an owner asks the store before it judges a batch, in one round trip where that can be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mas_core.base.ids import AGENT_ID
from mas_core.errors import InternalError
from mas_core.model.approval import DUE_PREFIX, decision_field
from mas_core.model.dead_letter import END_PREFIX, ORDER_PREFIX
from mas_core.model.frame import Frame
from mas_core.model.policy import RateLimit
from mas_core.model.priority import LANES
from mas_core.model.queue_order import trim_place
from mas_core.model.scheduled import SCHEDULE_PREFIX, cancel_field, parts_of
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.limits import Grant, Reservation, WindowUse, queue_give_back
from mas_core.store.stored import ENTRY, LogSize, StoredLetter, frame_of, hash_of, letter_of


class Lookups:
    """What an owner needs to know before it judges a batch, asked in one round trip."""

    def __init__(self, connection: Connection, keys: Keys, partition: int) -> None:
        self._connection = connection
        self._keys = keys
        self._partition = partition
        self._pipeline = Pipeline()
        self._pipeline.add("TIME")
        self._pipeline.add("HGET", keys.meta(partition), "policy_revision")
        self._readers: list[tuple[str, Any]] = []
        self._reservation = Reservation(keys)
        self.ask_totals: Callable[[Lookups], Reservation] | None = None
        """Says which totals to ask for, once it is known what the senders' own limits grant."""
        self.asked_after = 0
        """How many batches were known to be in the store when this was asked."""
        self.now = 0
        self.policy_revision = ""
        self.sessions: dict[tuple[str, str], dict[str, bytes]] = {}
        """Agent and session -> what is known of it."""
        self.seen: dict[str, bytes] = {}
        self.grants: dict[str, Grant] = {}
        self.owed: dict[str, int] = {}
        """Sender -> places among those granted that go to messages of earlier batches."""
        self.unsettled: dict[str, dict[str, int]] = {}
        self.inbox_frames: dict[tuple[str, str, str], Frame | None] = {}
        self.inbox_marks: dict[tuple[str, str, str], str] = {}
        """One character a message, "." open and "x" settled; empty when none is settled."""
        self.inbox_holders: dict[tuple[str, str, str], str] = {}
        """Which instance a frame is in the hands of; empty when nobody has read it."""
        self.inbox_starts: dict[tuple[str, str, str], str] = {}
        """Which instances have started its messages, as the agent noted it."""
        self.uses: dict[str, tuple[WindowUse, ...]] = {}
        """Subject -> use of the windows of its rate limit, where it was asked."""
        self.handled: dict[str, int] = {}
        """Agent -> how many messages it has handled."""
        self.due: list[tuple[str, bytes]] = []
        self.has_more_due = False
        """Whether more is due than fits into one batch."""
        self.decisions: dict[str, bytes] = {}
        """Name of a due message that was held -> what a person decided."""
        self.cancellations: dict[str, bytes] = {}
        """Name of a due message that was scheduled -> that somebody cancelled it."""
        self.log_sizes: dict[str, LogSize] = {}
        """Topic -> what its log holds, where that was asked."""
        self.letters: dict[str, StoredLetter] = {}
        """Name of what is due about a dead letter -> that dead letter, as long as it is there."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked but what is asked every time: the time and the revision of the policy."""
        return not (self._readers or self.ask_totals or self._reservation.is_wanted)

    def session(self, agent_id: str, session: str) -> None:
        """Ask what is known of an agent's sending session."""
        self._pipeline.add("HGETALL", self._keys.session(self._partition, agent_id, session))
        self._readers.append(("session", (agent_id, session)))

    def seen_ids(self, bucket: int, names: Sequence[str]) -> None:
        """Ask which of these ids were decided before."""
        self._pipeline.add("HMGET", self._keys.seen(self._partition, bucket), *names)
        self._readers.append(("seen", list(names)))

    def reserve(self, agent_id: str, wanted: int, limit: RateLimit) -> None:
        """Reserve places of an agent's rate limit."""
        self._reservation.add(agent_id, wanted, limit)

    def give_back(self, subject: str, at: int, places: int, *, by_second: bool = True) -> None:
        """Give back places that were reserved at `at` and not used, in the windows that they are counted in."""
        queue_give_back(
            self._connection, self._pipeline, self._keys, subject, at, places, by_second=by_second
        )
        self._readers.append(("done", None))

    def new_reservation(self) -> Reservation:
        """An empty reservation, for `ask_totals`."""
        return Reservation(self._keys)

    def limit_use(self, subject: str, limit: RateLimit) -> None:
        """Ask how much of a rate limit is used, without reserving any of it."""
        asking = Reservation(self._keys)
        asking.add(subject, 0, limit)
        asking.queue(self._connection, self._pipeline, "limit_use")
        self._readers.append(("use", asking))

    def backlog(self, agent_id: str) -> None:
        """Ask how many messages of an agent of this partition are not settled."""
        self._pipeline.add(
            "HMGET", self._keys.work(self._partition, agent_id), *(f"unsettled:{lane}" for lane in LANES)
        )
        self._readers.append(("backlog", agent_id))

    def inbox_frame(self, agent_id: str, lane: str, entry: str) -> None:
        """Ask for a delivered frame, which of its messages are settled, who holds it, and who started them."""
        keys = [self._keys.inbox(self._partition, agent_id, lane), self._keys.work(self._partition, agent_id)]
        self._connection.add_script(self._pipeline, "read_delivery", keys, [lane, entry])
        self._readers.append(("inbox", (agent_id, lane, entry)))

    def handled_messages(self, agent_id: str) -> None:
        """Ask how many messages an agent of this partition has handled."""
        self._pipeline.add("HGET", self._keys.work(self._partition, agent_id), "handled")
        self._readers.append(("handled", agent_id))

    def due_messages(self, now: int, most: int, most_bytes: int) -> None:
        """Ask for messages that were kept until now, as many as fit into one batch."""
        keys = [self._keys.later(self._partition), self._keys.later_bodies(self._partition)]
        self._connection.add_script(self._pipeline, "due", keys, [now, most, most_bytes])
        self._readers.append(("due", None))

    def trim_log(self, name: str, oldest: int, first: int, most: int) -> None:
        """Take off a topic's log what is more than may stay, and ask what is left; as `Commit.append_to_topic`."""
        keys = [self._keys.topic(self._partition, name), self._keys.topic_sizes(self._partition)]
        self._connection.add_script(self._pipeline, "trim_log", keys, [name, oldest, first, most])
        self._readers.append(("log", name))

    async def run(self) -> None:
        """Ask; the answers are in the attributes.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        reserving = self._reservation.queue(self._connection, self._pipeline)
        replies = await self._connection.run(self._pipeline)
        if reserving:
            self.grants.update(self._reservation.grants(replies[-reserving:]))
            del replies[-reserving:]
        seconds, microseconds = replies[0]
        self.now = int(seconds) * 1000 + int(microseconds) // 1000
        self.policy_revision = (replies[1] or b"").decode()
        for (kind, subject), reply in zip(self._readers, replies[2:], strict=True):
            match kind:
                case "session":
                    self.sessions[subject] = hash_of(reply)
                case "seen":
                    self.seen.update(
                        {name: value for name, value in zip(subject, reply, strict=True) if value is not None}
                    )
                case "backlog":
                    self.unsettled[subject] = self._backlog(reply)
                case "inbox":
                    self._note_frame(subject, reply)
                case "use":
                    self.uses.update(subject.uses([reply]))
                case "handled":
                    self.handled[subject] = _number(reply)
                case "log":
                    self.log_sizes[subject] = LogSize(int(reply[0]), int(reply[1]))
                case "due":
                    self.has_more_due = bool(reply[0])
                    await self._fetch_due([name.decode() for name in reply[1]])
        if self.ask_totals is not None:
            await self._reserve_totals(self.ask_totals(self))

    async def _reserve_totals(self, reservation: Reservation) -> None:
        pipeline = Pipeline()
        if reservation.queue(self._connection, pipeline):
            self.grants.update(reservation.grants(await self._connection.run(pipeline)))

    @staticmethod
    def _backlog(reply: Sequence[bytes | None]) -> dict[str, int]:
        return dict(zip(LANES, (_number(value) for value in reply), strict=True))

    async def _fetch_backlogs(self, targets: Iterable[str]) -> None:
        """How much agents have to do; what one of them has spoiled of its own counts must not stop the others."""
        for target in targets:
            with contextlib.suppress(InternalError):
                work = self._keys.work(self._partition, target)
                names = (f"unsettled:{lane}" for lane in LANES)
                self.unsettled[target] = self._backlog(await self._connection.call("HMGET", work, *names))

    async def _fetch_frame(self, place: tuple[str, str, str]) -> None:
        """A frame that an order is about; an agent that has spoiled its own keys must not stop the others."""
        agent_id, lane, entry = place
        keys = [self._keys.inbox(self._partition, agent_id, lane), self._keys.work(self._partition, agent_id)]
        with contextlib.suppress(InternalError):
            self._note_frame(place, await self._connection.script("read_delivery", keys, [lane, entry]))

    def _note_frame(self, place: tuple[str, str, str], reply: Any) -> None:
        fields, marks, holder, starts = reply
        self.inbox_frames[place] = frame_of(fields) if fields else None
        self.inbox_marks[place] = marks.decode()
        self.inbox_holders[place] = holder.decode(errors="replace")
        self.inbox_starts[place] = starts.decode(errors="replace")

    async def _fetch_due(self, names: Sequence[str]) -> None:
        if not names:
            return
        held = [name for name in names if name.startswith(DUE_PREFIX)]
        pipeline = Pipeline()
        pipeline.add("HMGET", self._keys.later_bodies(self._partition), *names)
        if held:
            fields = [decision_field(name.removeprefix(DUE_PREFIX)) for name in held]
            pipeline.add("HMGET", self._keys.held(self._partition), *fields)
        scheduled = {name: parts[0] for name in names if (parts := parts_of(name)) is not None}
        if scheduled:
            fields = [cancel_field(name.removeprefix(SCHEDULE_PREFIX)) for name in scheduled]
            pipeline.add("HMGET", self._keys.scheduled(self._partition), *fields)
        letters = {name: entry for name in names if (entry := entry_due(name))}
        for entry in letters.values():
            pipeline.add("XRANGE", self._keys.dead(self._partition), entry, entry)
            pipeline.add("ZSCORE", self._keys.dropped(self._partition), entry)
        for place in filter(None, map(trim_place, names)):
            await self._fetch_frame(place)
        bodies, *replies = await self._connection.run(pipeline)
        self.due = [(name, body or b"") for name, body in zip(names, bodies, strict=True)]
        if held:
            decided = zip(held, replies.pop(0), strict=True)
            self.decisions = {name: text for name, text in decided if text is not None}
        if scheduled:
            cancelled = zip(scheduled, replies.pop(0), strict=True)
            self.cancellations = {name: text for name, text in cancelled if text is not None}
            await self._fetch_backlogs(
                {target for target in scheduled.values() if AGENT_ID.fullmatch(target)}
            )
        for name, found, dropped in zip(letters, replies[::2], replies[1::2], strict=True):
            if found:
                self.letters[name] = letter_of(found[0], dropped)


def _number(value: bytes | None) -> int:
    """A count from a hash that an agent may write itself; what is no number counts for nothing."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0


def entry_due(name: str) -> str:
    """The place of the dead letter that something due is about; empty when it is about none."""
    for prefix in (ORDER_PREFIX, END_PREFIX):
        if name.startswith(prefix) and ENTRY.fullmatch(entry := name.removeprefix(prefix)):
            return entry
    return ""
