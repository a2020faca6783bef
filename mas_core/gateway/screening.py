"""Passes messages through the stages: a batch through the first, what is left through the second, and so on.

Stage by stage instead of message by message, what a stage must look up or prepare is paid once for the whole
batch. A message is decided by the first stage that ends its journey, in either order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter_ns
from typing import Final

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.gateway.transit import Sieve, Stage, Surroundings, Transit, one_by_one

log = get_logger(__name__)

ALWAYS_ON: Final = frozenset(
    {"form", "expiry", "target", "permit", "encryption", "fence", "schedule", "topic", "inbox"}
)
"""Stages that no policy leaves out."""


class Screening:
    """The stages in their order."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages = [(stage, stage if isinstance(stage, Sieve) else None) for stage in stages]

    @property
    def stages_on(self) -> tuple[str, ...]:
        """Those of the stages that are there because the policy wants them, in their order."""
        return tuple(stage.name for stage, _ in self._stages if stage.name not in ALWAYS_ON)

    def screen(self, transits: Sequence[Transit], batch: Surroundings) -> None:
        """Decide about messages; those that no stage stops are left as they are, to be delivered."""
        began = perf_counter_ns()
        for stage, sieve in self._stages:
            if not transits:
                return
            if sieve is None:
                transits = one_by_one(stage, transits, batch)
            else:
                try:
                    transits = sieve.sift(transits, batch)
                except Exception as error:  # noqa: BLE001 - one message must not stop a partition
                    log.error("stage.failed", stage=stage.name, trace=trace_of(error))
                    going = [one for one in transits if one.decision.is_delivered]
                    transits = one_by_one(stage, going, batch)
            ended = perf_counter_ns()
            batch.stages_us[stage.name] = (ended - began) // 1000
            began = ended


def on_for_all(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The stages that are on in every one of some partitions, in their order."""
    first, *others = sorted(lists, key=len) or [()]
    return tuple(name for name in first if all(name in other for other in others))
