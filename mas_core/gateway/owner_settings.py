"""What the owner of a partition is told by the gateway that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mas_core.gateway.recent_work import RecentWork
from mas_core.gateway.schedule import ScheduleBounds
from mas_core.gateway.tracing import GatewayTracing
from mas_core.model.priority import LANE_WEIGHTS
from mas_core.model.retry import AS_EVER, RetryTerms
from mas_core.model.topic import TopicRules
from mas_core.settings.gateway_settings import AuditSettings


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """What an owner needs to know of the gateway it belongs to."""

    gateway_id: str
    lease_ms: int = 1500
    inbox_bound: int = 10_000
    lane_weights: Mapping[str, int] = field(default_factory=lambda: dict(LANE_WEIGHTS))
    """Messages judged of each lane in one round while all lanes are full."""
    control_per_minute: int = 1200
    """Messages to the gateway itself that an agent may send."""
    audit: AuditSettings = field(default_factory=AuditSettings)
    """Files that records have to be in before anything is delivered."""
    retry: RetryTerms = AS_EVER
    """When messages come again that could not be handled, where their agent does not say."""
    topics: TopicRules = field(default_factory=TopicRules)
    """How much is kept of which topics."""
    schedule: ScheduleBounds = field(default_factory=ScheduleBounds)
    """How many messages may be scheduled at a time."""
    payload_keys: Path | None = None
    """Folder of the keys under which copies of payloads are sealed, where the policy keeps any."""
    tracing: GatewayTracing | None = None
    """Where spans of decisions go, if anywhere."""
    work: RecentWork = field(default_factory=RecentWork)
    """Where all owners of a gateway count what they do."""
