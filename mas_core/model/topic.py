"""Topics: what is kept of each, the frames of their logs, and what subscribers ask and are told.

A log is a stream of frames. The id of an entry is the number of its last message, so numbers are dense: whoever
finds more than the next number knows how many messages are gone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from mas_core.base.ids import MESSAGE_TYPE
from mas_core.base.resources import MAX_NAME, check_resource, matches_name

TOPIC: Final = "topic"
"""The kind of resource that topics are."""
SUBSCRIBE: Final = "topic.subscribe"
"""Asks the gateway which topics match some patterns, for their keys, and to be told when either changes."""
EVENT: Final = "event"
"""Type of a message to a topic whose name can be none."""
NEWS: Final = "topic.news"
"""Tells a subscribed instance of topics that have appeared and of keys that were replaced."""
REPORT: Final = "topic.report"
"""Tells the gateway of an entry that no gateway wrote, or of a message that could not be handled."""

RENEW_S: Final = 10.0
"""How often an instance says that it is still subscribed."""
FORGET_AFTER_MS: Final = 45_000
"""How long a subscription counts that is not renewed."""
GONE_MS: Final = 45_000
"""A reader that shares a durable subscription counts as gone when it has not asked for so long."""
MAX_PATTERNS: Final = 100
"""Patterns of one instance."""
MAX_TOLD: Final = 500
"""Topics in one answer; more come with the next question."""
MAX_GENERATIONS: Final = 64
"""Keys of a topic that are kept; what lies under older ones is a gap."""

_MAX_PATTERN = MAX_NAME + 6


def address(topic: str, message_type: str = "") -> tuple[str, str]:
    """Target and type of what is published to a topic; the type is the topic's name when left out.

    Raises:
        InvalidIdentifier: The topic cannot have this name.
    """
    target = check_resource(TOPIC, topic)
    if not message_type:
        # Types that begin with the name of a resource mean something else.
        is_type = MESSAGE_TYPE.fullmatch(topic) and not topic.startswith(f"{TOPIC}.")
        message_type = topic if is_type else EVENT
    return target, message_type


def is_topic(target: str) -> bool:
    """Whether what a message is addressed to is a topic."""
    return target.startswith("topic:")


class WhenFull(StrEnum):
    """What happens to a message for a log that is full."""

    TRIM = "trim"
    """The oldest go."""
    REFUSE = "refuse"
    """It is refused as `backpressure` until the oldest have grown too old."""


class TopicLimits(msgspec.Struct, array_like=True, frozen=True):
    """How much of a log is kept."""

    age_ms: int = 24 * 3_600_000
    max_bytes: int = 64 * 1024 * 1024
    max_messages: int = 1_000_000
    when_full: WhenFull = WhenFull.TRIM


class TopicRules(msgspec.Struct, frozen=True):
    """How much is kept of which topics; the first pattern that fits counts."""

    limits: tuple[tuple[str, TopicLimits], ...] = ()
    default: TopicLimits = TopicLimits()
    most: int = 10_000
    """Topics of one partition; more is back-pressure."""

    def limits_of(self, topic: str) -> TopicLimits:
        """What counts for a topic."""
        return next((limits for pattern, limits in self.limits if matches_name(pattern, topic)), self.default)


class TopicGap(msgspec.Struct, frozen=True):
    """Messages of a topic that a subscriber will never see: they were trimmed before it read them."""

    topic: str
    first: int
    """Number of the first that is missing."""
    last: int
    """Number of the last one; of a frame that was trimmed in a reader's hands only this is known."""

    @property
    def count(self) -> int:
        """How many are missing, at least."""
        return self.last - self.first + 1


class TopicHeader(msgspec.Struct, array_like=True, frozen=True):
    """What is readable of a frame of a log and bound to its seal as associated data."""

    version: int
    namespace: str
    topic: str
    generation: int
    """Which of the topic's keys it is sealed under."""
    last: int
    """Number of its last message; the id of its entry says the same."""
    count: int
    """Messages inside."""
    time: int
    """Unix milliseconds by the server's clock."""


class Generation(msgspec.Struct, array_like=True, frozen=True):
    """One key of a topic."""

    number: int
    """Grows; about the Unix milliseconds at which it was made."""
    key: bytes = b""
    replaced: int = 0
    """When nothing was sealed under it any more, in Unix milliseconds; 0 while it is in use."""


class TopicRecord(msgspec.Struct, array_like=True):
    """What the owner of a topic must remember; stored sealed, as it holds the keys."""

    name: str
    created: int
    """Unix milliseconds by the server's clock."""
    generations: list[Generation]
    """The newest is the last."""
    readers: dict[str, int]
    """`agent/key id` -> when it was given the newest key, in Unix milliseconds."""


class TopicStatus(msgspec.Struct, array_like=True):
    """What changes with every message to a topic."""

    last: int = 0
    """Number of its newest message."""
    at: int = 0
    """When that came, in Unix milliseconds."""
    subscribers: int = 0
    """Agents that were subscribed then."""
    limits: TopicLimits = TopicLimits()
    """How much is kept of it, as its owner is set."""


class DurableSubscription(msgspec.Struct, array_like=True, frozen=True):
    """That an agent has asked for a place of its own in all logs that match a pattern."""

    agent: str
    pattern: str
    since: int
    """Unix milliseconds: logs that begin later are read from their beginning."""


Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=_MAX_PATTERN)]


class SubscribeData(msgspec.Struct, forbid_unknown_fields=True):
    """What an instance asks for; what it does not name any more it is not subscribed to."""

    live: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=MAX_PATTERNS)] = ()
    """Patterns read from now on, or from a place that the instance knows itself."""
    durable: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=MAX_PATTERNS)] = ()
    """Patterns of which the agent keeps its place."""
    forget: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=MAX_PATTERNS)] = ()
    """Patterns of which the agent gives up its place for good."""
    after: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] = ""
    """Tell of topics behind this name only, in the order of names."""


class ReportData(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong with an entry of a log."""

    topic: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    entry: Annotated[str, msgspec.Meta(max_length=41, pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]
    code: Annotated[str, msgspec.Meta(max_length=64)]
    message_id: Annotated[str, msgspec.Meta(max_length=128)] = ""


class ToldTopic(msgspec.Struct):
    """One topic, as a subscriber is told of it."""

    name: str
    created: int
    last: int
    """Number of its newest message."""
    keys: dict[str, str]
    """Number of each generation -> key in base64."""


class Told(msgspec.Struct):
    """The answer to a subscription, and news."""

    topics: list[ToldTopic] = []
    now: int = 0
    """Unix milliseconds by the server's clock."""
    since: dict[str, int] = {}
    """Durable pattern -> since when the agent has it."""
    refused: dict[str, list[str]] = {}
    """Pattern -> why nothing of it may be read, and commands that would change that."""
    more: str = ""
    """The last name told, where there are more."""
