"""What operators order about the queues of a partition: frames that nobody has read become dead letters.

An operator takes such a frame in hand, as an instance would, and orders what is to become of it. The owner moves
its messages and settles the frame in one commit. Nothing is dropped: what cannot be moved stays, and instances
take it over from an operator who went away as from an instance.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.errors import DecryptionFailed
from mas_core.gateway.dead_letters import DeadLetters
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.model.dead_letter import ORDER_COUNTS_MS, due_purpose
from mas_core.model.decision import Decision
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import Delivery
from mas_core.model.queue_order import (
    TRIMMED,
    TRIMMER,
    TrimOrder,
    TrimOutcome,
    trim_outcome_purpose,
    trim_place,
)
from mas_core.registry.signed import signed
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups

MAX_REMEMBERED = 10_000

_ORDER = msgspec.msgpack.Decoder(TrimOrder)


class QueueOrders:
    """Orders about the queues of one partition; `effects` gets what must be committed."""

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        at_rest: AtRest,
        ledger: Ledger,
        dead_letters: DeadLetters,
        effects: list[Callable[[Commit], None]],
        *,
        partition: int,
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._at_rest = at_rest
        self._ledger = ledger
        self._dead_letters = dead_letters
        self._effects = effects
        self._partition = partition
        self._moved: dict[str, None] = {}
        """What was carried out: asked for early, it comes again before its commit, and its frame as it was."""

    def carry_out(self, name: str, sealed: bytes, lookups: Lookups) -> None:
        """Move the messages of a frame to the dead letters, or record why not."""
        if name in self._moved:
            return
        self._effects.append(lambda commit: commit.remove_later(name))
        place, now = trim_place(name), lookups.now
        try:
            order = _ORDER.decode(self._at_rest.open(due_purpose(self._partition, name), sealed))
        except (DecryptionFailed, *UNREADABLE):
            reason = (
                "the order was not written with the gateway's keys, or was changed: it counts for nothing"
            )
            self._record("bus.refused", name, now, None, reason, Decision.UNAUTHENTICATED)
            return
        if place is None or abs(now - order.at) > ORDER_COUNTS_MS:
            reason = (
                "nobody carried the order out in time, or somebody played it back: it does not count any more"
            )
            self._refuse(name, order, now, reason, Decision.EXPIRED)
            return
        agent_id, lane, entry = place
        frame = lookups.inbox_frames.get(place)
        if frame is None or lookups.inbox_holders.get(place) != TRIMMER:
            reason = "an instance has it in hand, or has settled it"
            self._refuse(name, order, now, reason, Decision.NOT_FOUND)
            return
        try:
            deliveries = self._directory.open_delivered(agent_id, lane, frame)
        except DecryptionFailed:
            reason = "the frame cannot be opened: no gateway sealed it, or its key is not known any more"
            self._refuse(name, order, now, reason, Decision.INVALID)
            return
        marks = lookups.inbox_marks.get(place, "")
        positions = [at for at in range(len(deliveries)) if marks[at : at + 1] != "x"]
        for position in positions:
            self._move(deliveries[position], order, now)
        self._moved[name] = None
        if len(self._moved) > MAX_REMEMBERED:
            del self._moved[next(iter(self._moved))]

        def settle(commit: Commit) -> None:
            for position in positions:
                commit.settle(agent_id, lane, entry, len(deliveries), position)

        self._effects.append(settle)
        self._record("bus.trimmed", name, now, order, order.note, moved=len(positions))
        self._tell(order, TrimOutcome(len(positions)))

    def _move(self, delivery: Delivery, order: TrimOrder, now: int) -> None:
        why = f": {order.note}" if order.note else ""
        self._dead_letters.bury(
            delivery, now, TRIMMED, f"{TRIMMED}: {order.by} took it out of the queue{why}"
        )

    def _refuse(self, name: str, order: TrimOrder, now: int, reason: str, decision: Decision) -> None:
        self._record("bus.refused", name, now, order, reason, decision)
        self._tell(order, TrimOutcome(reason=reason))

    def _tell(self, order: TrimOrder, outcome: TrimOutcome) -> None:
        text = signed(self._keys, trim_outcome_purpose(order.id), msgspec.json.encode(outcome))
        self._effects.append(lambda commit: commit.note_letter_order(order.id, text))

    def _record(
        self,
        kind: str,
        name: str,
        now: int,
        order: TrimOrder | None,
        reason: str,
        decision: str = "",
        moved: int = 0,
    ) -> None:
        place = trim_place(name)
        details: dict[str, object] = {"lane": place[1], "entry": place[2]} if place else {"name": name}
        if moved:
            details["messages"] = moved
        if kind == "bus.refused" and order is not None and order.note:
            details["operator_said"] = order.note
        self._ledger.record_event(
            kind,
            now,
            decision=decision,
            reason=reason,
            target=place[0] if place else "",
            actor=order.by if order is not None else "",
            details=details,
        )
