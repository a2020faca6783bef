"""What an owner knows of the topics of its partition: a copy of sealed records in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from mas_core.base.logs import get_logger
from mas_core.base.resources import RESOURCE
from mas_core.errors import DecryptionFailed
from mas_core.gateway.subscriptions import Subscriptions
from mas_core.model.frame import UNREADABLE
from mas_core.model.topic import (
    MAX_GENERATIONS,
    DurableSubscription,
    Generation,
    TopicLimits,
    TopicRecord,
    TopicRules,
    TopicStatus,
)
from mas_core.security.seals import AtRest
from mas_core.security.topic_keys import TopicKey, new_topic_key
from mas_core.store.topics import DURABLE

Item = TypeVar("Item", TopicRecord, TopicStatus, DurableSubscription)

log = get_logger(__name__)

RECORD: Final = "topic:"
STATUS: Final = "status:"
_JUMP: Final = 1000
"""A topic whose count was lost goes on from the time in milliseconds times this, which is beyond all it counted."""

_ENCODER = msgspec.msgpack.Encoder()
_RECORD = msgspec.msgpack.Decoder(TopicRecord)
_STATUS = msgspec.msgpack.Decoder(TopicStatus)
_DURABLE = msgspec.msgpack.Decoder(DurableSubscription)


@dataclass(frozen=True, slots=True)
class StoredTopics:
    """What the topics of a partition begin with."""

    records: Mapping[str, bytes] | None
    """Field -> sealed record; None where it cannot be read."""
    rules: TopicRules
    subscriptions: Subscriptions
    namespace: str
    now: int
    """Unix milliseconds by the server's clock."""


@dataclass(slots=True)
class Log:
    """One topic."""

    record: TopicRecord
    status: TopicStatus
    limits: TopicLimits
    look_at: int = 0
    """When its log is to be trimmed though nothing is published, in Unix milliseconds; 0 for never."""
    checked_at: int = 0
    """When it was last made sure that everybody who has its key may have it."""
    size: int = 0
    """Bytes of its log when that was last asked."""
    added: list[tuple[int, int]] = field(default_factory=list)
    """Number of a batch, and bytes that it adds, where that may not have been seen by whoever was asked."""
    counted: tuple[int, int] = (-1, 0)
    """Version of the subscriptions, and how many agents of them want it."""

    def set_size(self, size: int, asked_after: int) -> None:
        """Take over what its log holds, which was asked when so many batches were in the store."""
        self.size = size
        self.added = [item for item in self.added if item[0] > asked_after]

    def bytes_there(self) -> int:
        """Bytes of its log, what is on its way included."""
        return self.size + sum(size for _, size in self.added)


class TopicRecords:
    """Opens what is stored of topics, and seals what is to be."""

    def __init__(self, at_rest: AtRest, rules: TopicRules, stored: Mapping[str, bytes], now: int) -> None:
        self._at_rest = at_rest
        self._rules = rules
        self.spoiled: list[str] = []
        """Fields that no gateway has written."""
        self.changed: set[str] = set()
        """Topics whose record must be stored."""
        self.recounted: set[str] = set()
        """Topics whose status must be stored though nothing is published."""
        self.logs: dict[str, Log] = {}
        self.durable: dict[tuple[str, str], DurableSubscription] = {}
        """Agent and pattern -> that it keeps a place."""
        for name, text in stored.items():
            if name.startswith(RECORD):
                self._load(name, text, stored, now)
            elif name.startswith(DURABLE):
                item = self._open(name, text, _DURABLE)
                if item is not None and name == durable_field(item.agent, item.pattern):
                    self.durable[item.agent, item.pattern] = item

    def _load(self, field_name: str, text: bytes, stored: Mapping[str, bytes], now: int) -> None:
        name = field_name.removeprefix(RECORD)
        if not RESOURCE.fullmatch(f"topic:{name}"):
            return
        record = self._open(field_name, text, _RECORD)
        status_text = stored.get(STATUS + name)
        status = self._open(STATUS + name, status_text, _STATUS) if status_text is not None else None
        limits = self._rules.limits_of(name)
        if record is None or not record.generations:
            record = self.new_record(name, now)
        self.logs[name] = Log(record, status or TopicStatus(last=now * _JUMP), limits, look_at=now)

    def new_record(self, name: str, now: int) -> TopicRecord:
        """The record of a topic that begins."""
        return TopicRecord(name, now, [self._new_generation(now, 0)], {})

    def replace_key(self, entry: Log, now: int) -> None:
        """Let nothing more be sealed under the key that a topic has."""
        *older, newest = entry.record.generations
        kept = [item for item in older if item.replaced > now - entry.limits.age_ms]
        replaced = msgspec.structs.replace(newest, replaced=now)
        fresh = self._new_generation(now, newest.number)
        entry.record.generations = [*kept, replaced, fresh][-MAX_GENERATIONS:]
        entry.record.readers = {}

    @staticmethod
    def _new_generation(now: int, before: int) -> Generation:
        return Generation(max(now, before + 1), new_topic_key())

    def record_text(self, record: TopicRecord) -> tuple[str, bytes]:
        """Field and text under which a record is stored."""
        field_name = RECORD + record.name
        return field_name, self._at_rest.seal(field_name, _ENCODER.encode(record))

    def status_text(self, name: str, status: TopicStatus) -> tuple[str, bytes]:
        """Field and text under which a status is stored."""
        field_name = STATUS + name
        return field_name, self._at_rest.seal(field_name, _ENCODER.encode(status))

    def durable_text(self, item: DurableSubscription) -> tuple[str, bytes]:
        """Field and text under which it is stored that an agent keeps a place."""
        field_name = durable_field(item.agent, item.pattern)
        return field_name, self._at_rest.seal(field_name, _ENCODER.encode(item))

    def _open(self, name: str, text: bytes, decoder: msgspec.msgpack.Decoder[Item]) -> Item | None:
        try:
            return decoder.decode(self._at_rest.open(name, text))
        except (DecryptionFailed, *UNREADABLE) as error:
            log.error("topic.ignored", field=name[:160], reason=str(error), effect="it begins anew")
            self.spoiled.append(name)
            return None


def durable_field(agent: str, pattern: str) -> str:
    """Field under which it is stored that an agent keeps a place in the logs that match a pattern."""
    return f"{DURABLE}{agent}:{pattern}"


def open_topics(at_rest: AtRest, stored: Mapping[str, bytes]) -> TopicRecords:
    """What is stored of topics, for those who only read it."""
    return TopicRecords(at_rest, TopicRules(), stored, 0)


def topic_key(record: TopicRecord, generation: Generation, namespace: str) -> TopicKey:
    """A key of a topic, ready for use."""
    return TopicKey(
        generation.key,
        namespace=namespace,
        topic=record.name,
        generation=generation.number,
    )
