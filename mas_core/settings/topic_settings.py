"""Settings of topics: how much of their logs is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mas_core.base.resources import RESOURCE_PATTERN
from mas_core.model.topic import TopicLimits, TopicRules, WhenFull


class TopicRetention(BaseModel):
    """How much of the log of a topic is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    age_s: float = Field(default=TopicLimits().age_ms / 1000, gt=0)
    """Seconds after which a message leaves it."""
    max_bytes: int = Field(default=TopicLimits().max_bytes, ge=64 * 1024)
    """Bytes of all that is in it."""
    max_messages: int = Field(default=TopicLimits().max_messages, ge=1)
    """Messages in it, give or take those of one frame."""
    when_full: Literal["trim", "refuse"] = "trim"
    """Whether the oldest leave it when it has too many bytes, or the next message is refused."""

    def as_limits(self) -> TopicLimits:
        """The same as gateways have it."""
        return TopicLimits(
            max(1, int(self.age_s * 1000)), self.max_bytes, self.max_messages, WhenFull(self.when_full)
        )


class TopicSettings(TopicRetention):
    """How much of the logs of topics is kept, and how many topics there may be."""

    retention: dict[str, TopicRetention] = {}
    """Pattern of topics (`orders.*`, `orders.>`) -> what is different for them; the first that fits counts."""
    most: int = Field(default=10_000, ge=1, le=100_000)
    """Topics in each partition; more is back-pressure."""

    @field_validator("retention")
    @classmethod
    def _names_topics(cls, value: dict[str, TopicRetention]) -> dict[str, TopicRetention]:
        for pattern in value:
            if not RESOURCE_PATTERN.fullmatch(f"topic:{pattern}"):
                raise ValueError(
                    f"{pattern!r} is no pattern for topics\nuse words joined by dots, * for a word, > at the end"
                )
        return value

    def as_rules(self) -> TopicRules:
        """The same as gateways have it."""
        return TopicRules(
            tuple((pattern, item.as_limits()) for pattern, item in self.retention.items()),
            self.as_limits(),
            self.most,
        )
