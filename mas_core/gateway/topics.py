"""Topics of one partition: what is published goes to their logs, and subscribers get the keys to read them.

A message to a topic has passed the stages like any other; here it is put, with the others of its batch, into one
sealed frame of the topic's log, in the commit that holds their audit records. Who may read is judged when the key
is asked for, and again before anything is sealed under a key that was given away: where somebody has lost the
permission meanwhile, the key is replaced first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from mas_core.base.resources import matches_name, name_of
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.subscribing import Subscribing
from mas_core.gateway.topic_readers import TopicReaders
from mas_core.gateway.topic_records import Log, StoredTopics, TopicRecords, topic_key
from mas_core.model.decision import Decision
from mas_core.model.frame import MAX_FRAME_MESSAGES
from mas_core.model.message import Delivery
from mas_core.model.topic import TOPIC, TopicStatus, WhenFull, is_topic
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.security.topic_keys import TopicKey
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups

MAX_LOG_FRAME_BYTES: Final = 256 * 1024
"""Payload bytes after which a frame of a log is closed; one larger message travels alone."""
CHECK_MS: Final = 1_000
"""How often it is made sure that everybody who has the key of a topic may have it; permissions can run out."""
TRIM_MS: Final = 10_000
"""How often a log is looked at in which nothing is published."""
MAX_TRIMMED: Final = 50
"""Logs that are looked at in one round trip."""
ENTRY_BYTES: Final = 200
"""About what a message takes beside its payload."""

_ENCODER = msgspec.msgpack.Encoder()


class Topics:
    """The topics of one partition.

    Args:
        directory: Policy and registrations.
        keys: Of the gateways.
        ledger: Gets what happens to keys.
        outbound: Gets answers and news.
        effects: Gets what must be committed.
        stored: What is known of the topics.
    """

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        ledger: Ledger,
        outbound: Outbound,
        effects: list[Callable[[Commit], None]],
        stored: StoredTopics,
    ) -> None:
        self._ledger = ledger
        self._records = TopicRecords(AtRest(keys.at_rest_key), stored.rules, stored.records or {}, stored.now)
        self.is_readable = stored.records is not None
        """Whether what is stored of topics can be read, and written."""
        self._readers = TopicReaders(directory)
        self._subscriptions = stored.subscriptions
        self._rules = stored.rules
        self._effects = effects
        self._namespace = stored.namespace
        self._published: dict[str, list[Delivery]] = {}
        self._keys: dict[str, TopicKey] = {}
        self._news: set[str] = set()
        self._batch = 1
        self.subscribing = Subscribing(
            self.is_readable,
            directory,
            ledger,
            outbound,
            effects,
            self._records,
            self._readers,
            self._subscriptions,
        )

    @property
    def alarms(self) -> list[str]:
        """What is wrong and needs an operator."""
        if not self.is_readable:
            return ["what is stored of topics cannot be read: topics take no messages and no subscribers"]
        spoiled = self._records.spoiled
        if not spoiled:
            return []
        names = ", ".join(sorted(spoiled)[:5])
        return [f"records of topics are not ours, so these topics have begun anew: {names}"]

    # Asking

    def ask(self, targets: Iterable[str], lookups: Lookups, now: int) -> None:
        """Ask what judging messages to these targets needs, and trim logs that have not been looked at for long."""
        wanted = {
            name
            for target in targets
            if is_topic(target)
            and (entry := self._records.logs.get(name := name_of(target))) is not None
            and entry.limits.when_full is WhenFull.REFUSE
        }
        for name, entry in self._records.logs.items():
            if len(wanted) >= MAX_TRIMMED:
                break
            if 0 < entry.look_at <= now:
                wanted.add(name)
        for name in wanted:
            entry = self._records.logs[name]
            entry.look_at = now + TRIM_MS
            limits = entry.limits
            is_bounded = limits.when_full is WhenFull.TRIM
            first = entry.status.last - limits.max_messages + 1 if is_bounded else 0
            lookups.trim_log(name, now - limits.age_ms, first, limits.max_bytes if is_bounded else 2**53)

    def take_sizes(self, lookups: Lookups) -> None:
        """Take over what was found in logs."""
        for name, found in lookups.log_sizes.items():
            entry = self._records.logs.get(name)
            if entry is not None:
                entry.set_size(found.bytes, lookups.asked_after)
                due = found.oldest + entry.limits.age_ms
                entry.look_at = max(due, lookups.now + TRIM_MS) if found.oldest else 0

    # Publishing

    def has_room(self, target: str) -> bool:
        """Whether there may be a topic of this name: it is one already, or there are not too many."""
        return name_of(target) in self._records.logs or len(self._records.logs) < self._rules.most

    def fits(self, target: str, size: int) -> bool:
        """Whether a message of so many bytes fits into the log; always where the oldest go."""
        name = name_of(target)
        entry = self._records.logs.get(name)
        limits = self._rules.limits_of(name) if entry is None else entry.limits
        if limits.when_full is not WhenFull.REFUSE:
            return True
        there = 0 if entry is None else entry.bytes_there()
        return there + size + ENTRY_BYTES <= limits.max_bytes

    def take_room(self, target: str, size: int, now: int) -> None:
        """Count a message that is published, and begin the log where there is none."""
        name = name_of(target)
        entry = self._records.logs.get(name) or self._begin(name, now)
        if entry.limits.when_full is WhenFull.REFUSE:
            entry.added.append((self._batch, size + ENTRY_BYTES))

    def publish(self, delivery: Delivery) -> None:
        """Put a message that has passed all stages into the log of its topic."""
        self._published.setdefault(name_of(delivery.target), []).append(delivery)

    def prepare(self, now: int) -> None:
        """Make ready what the batch has published: topics that begin, and keys that have to be replaced."""
        self._subscriptions.forget_old(now)
        for name in self._published:
            entry = self._records.logs[name]
            if entry.checked_at + CHECK_MS <= now:
                self._withdraw(entry, now)
                entry.checked_at = now
        for name in self._news:
            self.subscribing.tell_news(name, now)
        self._news.clear()
        if self._published or self._records.changed or self._records.recounted:
            self._effects.append(lambda commit: self._write(commit, now))

    def _write(self, commit: Commit, now: int) -> None:
        """Put what was published into the commit."""
        for name in self._records.changed:
            commit.set_topic(*self._records.record_text(self._records.logs[name].record))
        for name, deliveries in self._published.items():
            entry = self._records.logs[name]
            status = entry.status
            status.at, status.limits = now, entry.limits
            for part in _portions(deliveries):
                status.last += len(part)
                frame = self._key(entry).seal(
                    _ENCODER.encode(part), last=status.last, count=len(part), now=now
                )
                commit.append_to_topic(
                    name, frame, last=status.last, count=len(part), now=now, limits=entry.limits
                )
            if not entry.look_at:
                entry.look_at = now + max(TRIM_MS, entry.limits.age_ms)
        for name in self._published.keys() | self._records.recounted:
            entry = self._records.logs[name]
            entry.status.subscribers = self._count(entry)
            commit.set_topic(*self._records.status_text(name, entry.status))
        self._published.clear()
        self._records.changed.clear()
        self._records.recounted.clear()
        self._batch += 1

    def _begin(self, name: str, now: int) -> Log:
        limits = self._rules.limits_of(name)
        entry = Log(self._records.new_record(name, now), TopicStatus(limits=limits), limits)
        self._records.logs[name] = entry
        self._records.changed.add(name)
        self._news.add(name)
        return entry

    def _withdraw(self, entry: Log, now: int) -> None:
        lost = self._readers.lost(entry.record, now)
        if not lost:
            return
        name = entry.record.name
        self._records.replace_key(entry, now)
        self._keys.pop(name, None)
        self._records.changed.add(name)
        self._news.add(name)
        agents = sorted({reader.partition("/")[0] for reader in lost})
        self._ledger.record_event(
            "topic.key",
            now,
            decision=Decision.ALLOWED,
            reason="the key was replaced: some who had it may not read the topic any more",
            target=f"{TOPIC}:{name}",
            details={"lost": agents[:100], "generation": entry.record.generations[-1].number},
        )

    def _key(self, entry: Log) -> TopicKey:
        name = entry.record.name
        key = self._keys.get(name)
        if key is None:
            newest = entry.record.generations[-1]
            key = self._keys[name] = topic_key(entry.record, newest, self._namespace)
        return key

    def _count(self, entry: Log) -> int:
        version, count = entry.counted
        if version != self._subscriptions.version:
            name = entry.record.name
            agents = {item.agent for item in self._subscriptions.of(name)}
            agents |= {agent for agent, pattern in self._records.durable if matches_name(pattern, name)}
            count = len(agents)
            entry.counted = (self._subscriptions.version, count)
        return count


def _portions(deliveries: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    start = size = 0
    for at, delivery in enumerate(deliveries):
        size += len(delivery.data)
        if at > start and (size > MAX_LOG_FRAME_BYTES or at - start == MAX_FRAME_MESSAGES):
            yield deliveries[start:at]
            start, size = at, len(delivery.data)
    yield deliveries[start:]
