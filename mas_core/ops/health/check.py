"""Looks at the health of a system, once or again and again."""

from __future__ import annotations

import asyncio
import time

from mas_core.base.clock import now_ms
from mas_core.errors import DeadlineExceeded, MasError, StoreUnreachable
from mas_core.ops.health.findings import judge
from mas_core.ops.health.observation import Expectations, Observation, expectations_of, observe
from mas_core.ops.health.report import HealthItem, HealthReport
from mas_core.ops.system import System

HOLDS_S = 1.0
"""A look counts for so long, so that many who ask cost no more than one."""
LOOK_SECONDS = 5.0
EXPECTED_FOR_S = 10.0
"""How often the files of the project are read again."""


async def check_health(system: System) -> HealthReport:
    """Look at everything once.

    Raises:
        StoreUnreachable: The server does not answer.
        SecretUnavailable: The gateway's keys are not at hand.
    """
    return (await look_once(system))[0]


async def look_once(system: System) -> tuple[HealthReport, Observation]:
    """The health and what it was judged by; errors as for `check_health`."""
    expected = expectations_of(system.target.project, system.target.profile)
    seen = await observe(system)
    return judge(seen, expected), seen


class HealthWatch:
    """Looks whenever it is asked, at most once a second; a system that cannot be looked at is red.

    Args:
        system: What to look at; whether its server answers may change.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._observation: Observation | None = None
        self._report = HealthReport((), 0)
        self._expected = Expectations()
        self._expected_at = 0.0

    async def report(self) -> HealthReport:
        """How the system is."""
        return (await self.look())[0]

    async def look(self) -> tuple[HealthReport, Observation | None]:
        """How the system is, and what there was to see; None while it cannot be looked at."""
        async with self._looking:
            if not self._looked_at or time.monotonic() - self._looked_at > HOLDS_S:
                self._observation = None
                try:
                    expected = await self._expectations()
                    async with asyncio.timeout(LOOK_SECONDS):
                        self._observation = await observe(self._system)
                    self._report = judge(self._observation, expected)
                except TimeoutError:
                    late = DeadlineExceeded(f"the store did not answer within {LOOK_SECONDS:g} s")
                    self._report = _cannot_look(late)
                except MasError as error:
                    self._report = _cannot_look(error)
                self._looked_at = time.monotonic()
            return self._report, self._observation

    async def _expectations(self) -> Expectations:
        if not self._expected_at or time.monotonic() - self._expected_at > EXPECTED_FOR_S:
            target = self._system.target
            self._expected = await asyncio.to_thread(expectations_of, target.project, target.profile)
            self._expected_at = time.monotonic()
        return self._expected


def _cannot_look(error: MasError) -> HealthReport:
    name = "store" if isinstance(error, StoreUnreachable | DeadlineExceeded) else "health"
    fix = error.hint[0] if error.hint else "mas status"
    return HealthReport((HealthItem(name, "red", error.message, fix),), now_ms())
