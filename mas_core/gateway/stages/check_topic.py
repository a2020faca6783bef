"""Refuses what a topic cannot take: requests, reserved types, and more than there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.topic import is_topic

TOPIC_FULL = "topic_full"
"""Names the reason in a receipt, where rules are named otherwise."""
TOO_MANY_TOPICS = "too_many_topics"


class Logs(Protocol):
    """Which topics there are, and how full their logs are."""

    is_readable: bool
    """Whether what is stored of topics can be read, and written."""

    def has_room(self, target: str) -> bool:
        """Whether there may be such a topic."""

    def fits(self, target: str, size: int) -> bool:
        """Whether a message of so many bytes fits into its log."""

    def take_room(self, target: str, size: int, now: int) -> None:
        """Count a message that is published, and begin its log where there is none."""


class CheckTopic:
    """Back-pressure where a topic is set to refuse and not to forget."""

    name = "topic"

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that topics can take, and all that are for others."""
        if not any(transit.is_for_resource for transit in transits):
            return transits
        return one_by_one(self, transits, batch)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Invalid, backpressure, or nothing."""
        return self._check(transit, batch, is_in_earnest=True)

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and no room is taken."""
        return self._check(transit, batch, is_in_earnest=False)

    def _check(self, transit: Transit, batch: Surroundings, *, is_in_earnest: bool) -> Verdict | None:
        target = transit.envelope.target
        if not transit.is_for_resource or not is_topic(target):
            return None
        if transit.envelope.type.startswith("topic."):
            return Verdict(Decision.INVALID, "types that begin with topic. are not for messages to topics")
        if transit.expects_reply:
            return Verdict(Decision.INVALID, "a topic answers nobody: it takes messages, not requests")
        if not self._logs.is_readable:
            return topics_unreadable()
        if not self._logs.has_room(target):
            return Verdict(
                Decision.BACKPRESSURE, "there are as many topics as there may be", TOO_MANY_TOPICS,
                retry_after=60.0, hint=("mas topic list",),
            )  # fmt: skip
        if not self._logs.fits(target, len(transit.data)):
            return Verdict(
                Decision.BACKPRESSURE, f"the log of {target} is full, and set to refuse then", TOPIC_FULL,
                retry_after=1.0, hint=("mas topic list",),
            )  # fmt: skip
        if is_in_earnest:
            self._logs.take_room(target, len(transit.data), batch.now)
        return None


def topics_unreadable() -> Verdict:
    """The refusal where somebody has spoiled what is stored of topics: others must not wait for it."""
    return Verdict(
        Decision.STORE_FULL,
        "what is stored of topics cannot be read",
        "topics_unreadable",
        retry_after=1.0,
        hint=("mas status",),
    )
