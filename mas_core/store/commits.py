"""One batch's writes, to be carried out at once or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from mas_core.model.frame import Frame
from mas_core.model.operator_entry import OPERATOR_LANE
from mas_core.model.topic import TopicLimits
from mas_core.store.keys import Keys
from mas_core.store.limits import Grant
from mas_core.store.wire import Argument

SESSION_EXPIRY_MS = 2 * 3_600_000
"""How long a sending session may be silent; longer than frames are accepted, so none is taken twice."""

REPLIES_EXPIRY_MS = 3_600_000
"""How long the replies to an instance are kept after the last one."""
KEPT_CHANGES = 10_000
"""Entries of the log of changed agents, about; who is further behind reads all agents."""
OUTCOME_EXPIRY_MS = 600_000
"""How long those who decided about a held message or a dead letter can ask what became of it."""

FINISHED_EXPIRY_MS = 30 * 24 * 3_600_000
"""How long what was agreed can be read after it is over; the audit keeps it for as long as it keeps anything."""
END_OF_TIME_MS = 7_258_118_400_000
"""The year 2200: no honest entry has such an id."""


class CommitResult(Enum):
    """How a commit ended."""

    DONE = "done"
    LOST = "lost"
    """Another owner, another head or other cursors: nothing was written and the owner starts over."""
    STALE_POLICY = "stale_policy"
    """The policy or a key changed: nothing was written and the batch is judged again."""
    BLOCKED = "blocked"
    """A key has a wrong type or a stream that takes no entries: nothing was written."""


@dataclass(frozen=True, slots=True)
class CommitReply:
    """The result of a commit, with the key that blocked it."""

    result: CommitResult
    now: int = 0
    key: str = ""
    grants: dict[str, Grant] = field(default_factory=dict)
    """Places that were reserved along with it."""
    is_covered: bool = True
    """Whether enough replicas have it."""


@dataclass(slots=True)
class Commit:
    """One batch's writes: collected first, then carried out at once or not at all.

    Entries are added to streams first, the others run in the order in which they were added.
    """

    keys: Keys
    partition: int
    expected: dict[str, str]
    lease_ms: int
    makes_anew: bool = False
    """Whether an ingress starts over, so that whoever reads it must start over too."""
    audit_block: bytes = b""
    """The records that are added to the audit."""
    _audit_after: tuple[str, str] | None = None
    _key_index: dict[str, int] = field(default_factory=dict)
    _key_types: list[str] = field(default_factory=list)
    _commands: list[Argument] = field(default_factory=list)

    def add_audit(self, block: bytes, last_seq: int, head: str) -> None:
        """Append a block of records and move the head of the chain."""
        self.audit_block = block
        self._audit_after = (str(last_seq), head)
        self._add("XADD", "stream", self.keys.audit(self.partition), f"{last_seq}-0", "r", block)
        self._add("HSET", "hash", self.keys.meta(self.partition), "audit_seq", last_seq, "audit_head", head)

    @property
    def audit_after(self) -> tuple[str, str]:
        """Sequence and head of the audit once it is carried out."""
        return self._audit_after or (self.expected.get("audit_seq", ""), self.expected.get("audit_head", ""))

    def move_cursor(self, lane: str, entry: str) -> None:
        """Everything up to `entry` is done; it leaves the ingress."""
        self._add("HSET", "hash", self.keys.meta(self.partition), f"cursor:{lane}", entry)
        milliseconds, _, number = entry.partition("-")
        if int(milliseconds) > END_OF_TIME_MS:
            # Nobody can add to a stream whose last id lies there, so it is made anew.
            self._add("DEL", "stream", self.keys.ingress(self.partition, lane))
            self._add("HSET", "hash", self.keys.meta(self.partition), f"cursor:{lane}", "")
            self.makes_anew = True
            return
        after = f"{milliseconds}-{int(number) + 1}"
        self._add("XTRIM", "stream", self.keys.ingress(self.partition, lane), "MINID", after)

    def keep_payload(self, seq: int, sealed: bytes) -> None:
        """Keep the sealed copy of the payload that a record is about."""
        self._add("HSET", "hash", self.keys.payload_copies(self.partition), seq, sealed)

    def move_operator_cursor(self, entry: str) -> None:
        """Everything in the operator log up to `entry` is recorded; it leaves the log."""
        log, meta = self.keys.operator_log(), self.keys.meta(self.partition)
        milliseconds, _, number = entry.partition("-")
        if int(milliseconds) > END_OF_TIME_MS:
            self._add("DEL", "any", log)
            self._add("HSET", "hash", meta, f"cursor:{OPERATOR_LANE}", "")
            self.makes_anew = True
            return
        self._add("HSET", "hash", meta, f"cursor:{OPERATOR_LANE}", entry)
        self._add("XTRIM", "any", log, "MINID", f"{milliseconds}-{int(number) + 1}")

    def deliver(self, agent_id: str, lane: str, frame: Frame, count: int) -> None:
        """Put a frame into the inbox of an agent of this partition."""
        inbox = self.keys.inbox(self.partition, agent_id, lane)
        self._add("XADD", "stream", inbox, "*", "h", frame.header, "b", frame.body)
        self._add("HINCRBY", "hash", self.keys.work(self.partition, agent_id), f"unsettled:{lane}", count)

    def answer(self, agent_id: str, instance: str, frame: Frame) -> None:
        """Put receipts or a reply into the replies of an instance of this partition."""
        key = self.keys.replies(self.partition, agent_id, instance)
        self._add("XADD", "stream", key, "*", "h", frame.header, "b", frame.body)
        self._add("PEXPIRE", "stream", key, REPLIES_EXPIRY_MS)

    def remember_session(
        self, agent_id: str, session: str, lane: str, counter: int, receipt: bytes, slot: int
    ) -> None:
        """Note the last counter of a session's lane and the receipt for it."""
        key = self.keys.session(self.partition, agent_id, session)
        self._add("HSET", "hash", key, f"last:{lane}", counter, f"receipt:{lane}:{slot}", receipt)
        self._add("PEXPIRE", "hash", key, SESSION_EXPIRY_MS)

    def remember_id(self, bucket: int, name: str, receipt: bytes, expiry_ms: int) -> None:
        """Note the decision about a message whose id can occur again."""
        key = self.keys.seen(self.partition, bucket)
        self._add("HSET", "hash", key, name, receipt)
        self._add("PEXPIRE", "hash", key, expiry_ms)

    def set_instance(self, agent_id: str, instance: str, status: bytes, now: int) -> None:
        """Note what an instance says of itself."""
        key = self.keys.agent(self.partition, agent_id)
        self._add("HSET", "hash", key, f"instance:{instance}", status, f"seen:{instance}", now)
        self._note_change(agent_id)

    def end_instance(self, agent_id: str, instance: str) -> None:
        """Note that an instance is gone; what it held can be claimed at once."""
        key = self.keys.agent(self.partition, agent_id)
        self._add("HDEL", "hash", key, f"instance:{instance}")
        self._add("HSET", "hash", key, f"seen:{instance}", 0)
        self._note_change(agent_id)

    def forget_instances(self, agent_id: str, instances: Sequence[str]) -> None:
        """Drop the traces of instances that ended long ago."""
        names = [f"{kind}:{instance}" for instance in instances for kind in ("seen", "instance")]
        self._add("HDEL", "hash", self.keys.agent(self.partition, agent_id), *names)
        self._note_change(agent_id)

    def _note_change(self, agent_id: str) -> None:
        key = self.keys.changed_agents(self.partition)
        self._add("NOTE", "any", key, agent_id, KEPT_CHANGES)

    def add_dead_letter(self, fields: Mapping[str, Argument]) -> None:
        """Keep a message that could not be handled."""
        flat = [part for item in fields.items() for part in item]
        self._add("XADD", "stream", self.keys.dead(self.partition), "*", *flat)

    def remove_dead_letter(self, entry: str) -> None:
        """Take a dead letter out for good."""
        self._add("XDEL", "stream", self.keys.dead(self.partition), entry)
        self._add("ZREM", "zset", self.keys.dropped(self.partition), entry)

    def drop_dead_letter(self, entry: str, until_ms: int) -> None:
        """Mark a dead letter as dropped; it stays until then."""
        self._add("ZADD", "zset", self.keys.dropped(self.partition), until_ms, entry)

    def restore_dead_letter(self, entry: str) -> None:
        """Take the mark of a dropped dead letter back."""
        self._add("ZREM", "zset", self.keys.dropped(self.partition), entry)

    def note_letter_order(self, order_id: str, outcome: bytes) -> None:
        """Tell who gave an order about a dead letter what became of it."""
        key = self.keys.letter_order(self.partition, order_id)
        self._add("HSET", "hash", key, "outcome", outcome)
        self._add("PEXPIRE", "hash", key, OUTCOME_EXPIRY_MS)

    def append_to_topic(
        self, name: str, frame: Frame, *, last: int, count: int, now: int, limits: TopicLimits
    ) -> None:
        """Add a frame to a topic's log, and take off what is more than its limits let stay."""
        sizes = self._index(self.keys.topic_sizes(self.partition), "hash")
        oldest, first = now - limits.age_ms, last - limits.max_messages + 1
        self._add(
            "LOG", "any", self.keys.topic(self.partition, name), sizes, name, last, frame.header, frame.body,
            count, now, oldest, first, limits.max_bytes,
        )  # fmt: skip

    def set_topic(self, field: str, record: bytes | None) -> None:
        """Write a record about topics, or remove it."""
        key = self.keys.topics(self.partition)
        if record is None:
            self._add("HDEL", "hash", key, field)
        else:
            self._add("HSET", "hash", key, field, record)

    def add_later(self, name: str, due_ms: int, body: bytes) -> None:
        """Keep a message until it is due."""
        self._add("ZADD", "zset", self.keys.later(self.partition), due_ms, name)
        self._add("HSET", "hash", self.keys.later_bodies(self.partition), name, body)

    def remove_later(self, name: str) -> None:
        """Drop a message that was kept for later."""
        self._add("ZREM", "zset", self.keys.later(self.partition), name)
        self._add("HDEL", "hash", self.keys.later_bodies(self.partition), name)

    def set_breaker(self, field: str, record: bytes | None) -> None:
        """Write a record about circuits, or remove it; a key that cannot take it stops nothing."""
        key = self.keys.breakers(self.partition)
        if record is None:
            self._add("HDEL", "any", key, field)
        else:
            self._add("HSET", "any", key, field, record)

    def set_resource(self, kind: str, name: str, record: bytes | None) -> None:
        """Write the record of a resource, or take it away."""
        key = self.keys.resources(self.partition, kind)
        if record is None:
            self._add("HDEL", "hash", key, name)
        else:
            self._add("HSET", "hash", key, name, record)

    def finish_resource(self, kind: str, name: str, record: bytes, keep_ms: int = FINISHED_EXPIRY_MS) -> None:
        """Keep the last record of a resource that is over, for so many milliseconds."""
        key = self.keys.finished_resource(self.partition, kind, name)
        self._add("HSET", "hash", key, "record", record)
        self._add("PEXPIRE", "hash", key, keep_ms)

    def set_fence(self, name: str, term: int) -> None:
        """Note the highest term of a group that came to a target."""
        self._add("HSET", "hash", self.keys.fences(self.partition), name, term)

    def hold(self, name: str, due_ms: int, body: bytes, field: str, facts: bytes) -> None:
        """Keep a message until a person decides, or until it is due."""
        self.add_later(name, due_ms, body)
        self._add("HSET", "hash", self.keys.held(self.partition), field, facts)

    def end_hold(self, name: str, fields: Sequence[str]) -> None:
        """Drop a message that was held, and what is known of it."""
        self.remove_later(name)
        self._add("HDEL", "hash", self.keys.held(self.partition), *fields)

    def schedule(self, name: str, due_ms: int, body: bytes, field: str, facts: bytes) -> None:
        """Keep a message until it is due, and what is known of it."""
        self.add_later(name, due_ms, body)
        self._add("HSET", "hash", self.keys.scheduled(self.partition), field, facts)

    def end_schedule(self, name: str, fields: Sequence[str]) -> None:
        """Drop a message that was scheduled, and what is known of it."""
        self.remove_later(name)
        self._add("HDEL", "hash", self.keys.scheduled(self.partition), *fields)

    def note_schedule_outcome(self, scheduled: str, outcome: bytes) -> None:
        """Tell who wants to cancel a message what became of it."""
        key = self.keys.schedule_outcome(self.partition, scheduled)
        self._add("HSET", "hash", key, "outcome", outcome)
        self._add("PEXPIRE", "hash", key, OUTCOME_EXPIRY_MS)

    def note_outcome(self, approval_id: str, outcome: bytes) -> None:
        """Tell who decided about a held message what became of it."""
        key = self.keys.approval(self.partition, approval_id)
        self._add("HSET", "hash", key, "outcome", outcome)
        self._add("PEXPIRE", "hash", key, OUTCOME_EXPIRY_MS)

    def settle(self, agent_id: str, lane: str, frame: str, total: int, position: int) -> None:
        """Mark one message of a delivered frame as done, on behalf of the agent."""
        inbox = self._index(self.keys.inbox(self.partition, agent_id, lane), "stream")
        work = self.keys.work(self.partition, agent_id)
        self._add("SETTLE", "hash", work, inbox, lane, frame, total, position)

    def drop_delivery(self, agent_id: str, lane: str, frame: str) -> None:
        """Take a frame out of an inbox that no gateway put there, so that it counts for nothing."""
        inbox = self.keys.inbox(self.partition, agent_id, lane)
        self._add("XACK", "stream", inbox, "agent", frame)
        self._add("XDEL", "stream", inbox, frame)
        work = self.keys.work(self.partition, agent_id)
        self._add("HDEL", "hash", work, f"frame:{lane}:{frame}", f"started:{lane}:{frame}")

    def _index(self, key: str, kind: str) -> int:
        index = self._key_index.get(key)
        if index is None:
            index = self._key_index[key] = len(self._key_index) + 2
            self._key_types.append(kind)
        return index

    def _add(self, command: str, kind: str, key: str, *arguments: Argument) -> None:
        self._commands += (command, len(arguments), self._index(key, kind), *arguments)

    def script_call(self) -> tuple[list[str], list[Argument]]:
        """KEYS and ARGV of the commit script."""
        arguments: list[Argument] = [self.lease_ms, len(self.expected)]
        for item in self.expected.items():
            arguments += item
        arguments += self._key_types
        arguments += self._commands
        return [self.keys.meta(self.partition), *self._key_index], arguments
