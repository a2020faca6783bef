"""What a partition keeps until its time has come: messages sent for later, held, failed or dead, and orders.

All of it lies in one queue, by when it is due. What each of them is shows in how its name begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.gateway.approvals import Approvals
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.dead_letters import DeadLetters
from mas_core.gateway.decided_ids import DecidedIds
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.queue_orders import QueueOrders
from mas_core.gateway.redelivery import Redelivery
from mas_core.gateway.schedule import Schedule, ScheduleBounds
from mas_core.gateway.second_look import SecondLook
from mas_core.gateway.transit import Stage
from mas_core.model.approval import DUE_PREFIX
from mas_core.model.dead_letter import END_PREFIX, ORDER_PREFIX
from mas_core.model.queue_order import TRIM_PREFIX
from mas_core.model.retry import RetryTerms
from mas_core.model.scheduled import SCHEDULE_PREFIX
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups

POSTPONED_MS = 60_000
"""How long a message that was due and could not be gone on with is kept."""

log = get_logger(__name__)


class KeptMessages:
    """Those who keep messages in one partition; `effects` gets what must be committed."""

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        ledger: Ledger,
        outbound: Outbound,
        breakers: Breakers,
        decided: DecidedIds,
        effects: list[Callable[[Commit], None]],
        *,
        partition: int,
        held: int,
        scheduled: Iterable[tuple[str, int]],
        schedule_bounds: ScheduleBounds,
        retry: RetryTerms,
    ) -> None:
        self._effects = effects
        at_rest = AtRest(keys.at_rest_key)
        self._second_look = SecondLook(directory, breakers)
        self.approvals = Approvals(
            directory,
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            self._second_look,
            effects,
            partition=partition,
            waiting=held,
        )
        self.dead_letters = DeadLetters(
            directory,
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            self._second_look,
            effects,
            partition=partition,
            full=self.approvals.full,
        )
        self.schedule = Schedule(
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            self._second_look,
            self.approvals,
            self.dead_letters,
            decided,
            effects,
            waiting=scheduled,
            bounds=schedule_bounds,
        )
        self.redelivery = Redelivery(
            directory, at_rest, ledger, outbound, breakers, self.dead_letters, effects, retry
        )
        self._queue_orders = QueueOrders(
            directory, keys, at_rest, ledger, self.dead_letters, effects, partition=partition
        )

    def use(self, stages: Iterable[Stage]) -> None:
        """What was kept passes those of these stages again whose answer can have changed."""
        self._second_look.use(stages)

    def take_up(self, name: str, body: bytes, lookups: Lookups) -> None:
        """Go on with what is due."""
        before = len(self._effects)
        try:
            if name.startswith(DUE_PREFIX):
                self.approvals.resume(name, body, lookups.decisions.get(name), lookups.now)
            elif name.startswith(SCHEDULE_PREFIX):
                self.schedule.resume(name, body, lookups.cancellations.get(name), lookups.now)
            elif name.startswith(ORDER_PREFIX):
                self.dead_letters.carry_out(name, body, lookups.letters.get(name), lookups.now)
            elif name.startswith(TRIM_PREFIX):
                self._queue_orders.carry_out(name, body, lookups)
            elif name.startswith(END_PREFIX):
                self.dead_letters.end(name, body, lookups.letters.get(name), lookups.now)
            else:
                self.redelivery.deliver_again(name, body, lookups.now)
        except Exception as error:  # noqa: BLE001 - one message must not stop a partition, nor be lost
            log.error("due.failed", name=name, trace=trace_of(error), effect="it is tried again in a minute")
            del self._effects[before:]
            again = lookups.now + POSTPONED_MS
            self._effects.append(lambda commit: commit.add_later(name, again, body))
