"""One topic as one subscription reads it: its keys, how far it was read, and what is missing in between."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from mas_core.errors import DecryptionFailed
from mas_core.model.frame import DELIVERIES_DECODER, UNREADABLE
from mas_core.model.message import Delivery
from mas_core.model.topic import ToldTopic, TopicGap
from mas_core.security.topic_keys import TopicKey, read_topic_header
from mas_core.store.topics import LogEntry

MAX_FORGED: Final = 1_000


class KeyUnknown(Exception):
    """An entry says that it is sealed under a key that is not at hand."""


class TopicPlace:
    """Opens what lies in the log of a topic.

    Args:
        namespace, partition: Where the log lies.
        told: What the gateway says of the topic.
        after: Number of the last message that is not wanted.
        expected: Number of the next message; 0 where any is welcome.
    """

    def __init__(self, namespace: str, partition: int, told: ToldTopic, after: int, expected: int) -> None:
        self.name = told.name
        self._created = told.created
        self.partition = partition
        self.position = f"{after}-0"
        """The last entry that was read."""
        self.expected = expected
        self.forged: set[str] = set()
        """Entries beyond the position that no gateway has put there; what belongs in their places will come."""
        self._namespace = namespace
        self._keys: dict[int, TopicKey] = {}
        self.take_keys(told.keys)

    def take_keys(self, keys: Mapping[str, str]) -> None:
        """Take over keys: number of the generation -> key in base64; what cannot be one is left out."""
        for text, encoded in keys.items():
            if text.isdigit() and int(text) not in self._keys:
                try:
                    key = base64.b64decode(encoded, validate=True)
                    self._keys[int(text)] = TopicKey(
                        key,
                        namespace=self._namespace,
                        topic=self.name,
                        generation=int(text),
                    )
                except (binascii.Error, ValueError):
                    continue

    def is_before(self, told: ToldTopic) -> bool:
        """Whether the topic has begun anew since, after the store was lost or restored: it counts from 1 again."""
        return told.created != self._created and told.last + 1 < self.expected

    def pass_over(self, entry: str) -> None:
        """Take note of an entry that no gateway has put there.

        What comes next has a higher number than the last message, so only what was put directly behind that can be
        behind us for good; numbers that are still to come will come, and are looked for.
        """
        if entry.partition("-")[0] == self.position.partition("-")[0]:
            self.position = entry
        elif len(self.forged) < MAX_FORGED:
            self.forged.add(entry)

    def open(self, found: LogEntry, *, is_new: bool = True) -> tuple[list[Delivery], TopicGap | None]:
        """The messages of an entry, and what is missing before it.

        Args:
            found: The entry.
            is_new: Whether it is the next one; false for what is read a second time.

        Raises:
            KeyUnknown: It says that it is sealed under a key that is not at hand.
            DecryptionFailed: No gateway has put it there.
        """
        header = read_topic_header(
            found.frame,
            namespace=self._namespace,
            topic=self.name,
            entry=found.entry,
        )
        key = self._keys.get(header.generation)
        if key is None:
            raise KeyUnknown
        body = key.open(found.frame)
        try:
            deliveries = DELIVERIES_DECODER.decode(body)
        except UNREADABLE as error:
            raise DecryptionFailed("the frame holds no messages") from error
        if len(deliveries) != header.count or (is_new and header.last < self.expected):
            raise DecryptionFailed("the frame was read before, or says something else than it holds")
        if not is_new:
            return deliveries, None
        first = header.last - header.count + 1
        if first < self.expected:
            # A subscription may begin in the middle of a frame.
            deliveries = deliveries[self.expected - first :]
        gap = TopicGap(self.name, self.expected, first - 1) if 0 < self.expected < first else None
        self.expected = header.last + 1
        self.position = found.entry
        self.forged.clear()
        return deliveries, gap
