"""What a look at the health of a system says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

HealthStatus = Literal["ok", "warn", "red"]

_ORDER: Final[dict[HealthStatus, int]] = {"ok": 0, "warn": 1, "red": 2}


@dataclass(frozen=True, slots=True)
class HealthItem:
    """One thing and how it is."""

    name: str
    """Such as `store`, `partition 0` or `agent calculator`."""
    status: HealthStatus
    reason: str
    """In words; of what is well, what was found."""
    fix: str = ""
    """A command that leads on; empty when there is nothing to do."""
    since: int = 0
    """Since when, in Unix milliseconds by the server's clock; 0 where that is not known."""
    process: str = ""
    """Id of the gateway or runner whose work it is; empty where it is nobody's alone."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How a whole system is."""

    items: tuple[HealthItem, ...]
    """The worst first."""
    now: int
    """Unix milliseconds by the server's clock, or by our own while that cannot be asked."""

    @property
    def status(self) -> HealthStatus:
        """The worst status of all."""
        return worst(self.items)


def worst(items: tuple[HealthItem, ...]) -> HealthStatus:
    """The worst status of these; ok when there are none."""
    return max((item.status for item in items), key=_ORDER.__getitem__, default="ok")


def report_of(items: list[HealthItem], now: int) -> HealthReport:
    """A report with the worst first, else in the order given."""
    return HealthReport(tuple(sorted(items, key=lambda item: -_ORDER[item.status])), now)
