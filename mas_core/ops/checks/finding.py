"""What a check finds, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mas_core.ops.health.report import HealthStatus

if TYPE_CHECKING:
    from mas_core.ops.checks.look import Look

Needs = Literal["machine", "server", "system"]
"""What has to be reached: nothing but files, the server, or the records in it, which take the gateway's keys."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found, well or not."""

    check: str
    status: HealthStatus
    message: str
    fix: str = ""
    """A command that mends it or leads on; empty of what is well."""
    repair: Callable[[], str] | None = None
    """Mends it on this machine, and says what it changed and how to undo that; None where only people can."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on a measured value is a warning, and from where on red."""

    warn: float
    red: float
    is_floor: bool = False
    """Whether less is worse, such as days that are left."""

    def judge(self, value: float) -> HealthStatus:
        """How a value is."""
        if self._beyond(value, self.red):
            return "red"
        return "warn" if self._beyond(value, self.warn) else "ok"

    def _beyond(self, value: float, bound: float) -> bool:
        return value <= bound if self.is_floor else value >= bound


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    name: str
    summary: str
    needs: Needs
    judge: Callable[[Look, Bounds | None], Iterable[Finding]]
    measure: Callable[[Look], float | None] | None = None
    """What is compared with the bounds, None while nothing is there; none where there never is."""
    unit: str = ""
    """`s` or `%`, empty of counts."""
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to."""

    check: Check
    status: HealthStatus
    findings: tuple[Finding, ...]
    value: float | None = None
    bounds: Bounds | None = None

    @property
    def worst(self) -> Finding:
        """The finding to name when there is room for one."""
        return next(item for item in self.findings if item.status == self.status)
