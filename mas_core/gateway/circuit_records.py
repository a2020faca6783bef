"""What is stored of a partition's circuits: read with their MAC, written with the next commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from mas_core.base.logs import get_logger
from mas_core.model.breaker import CircuitRecord, Order, circuit_field, order_field, pair_of, seen_field
from mas_core.registry.signed import Macs, signed, verified
from mas_core.store.commits import Commit

log = get_logger(__name__)

_Kept = TypeVar("_Kept", CircuitRecord, Order)


class CircuitRecords:
    """Records of open circuits and orders of operators. What cannot be read counts as not there."""

    def __init__(self, macs: Macs) -> None:
        self._macs = macs
        self._fields: Mapping[str, bytes] = {}
        self._writes: dict[str, bytes | None] = {}
        self.unreadable = 0
        """Records that could not be read, so that their circuits count as closed."""

    @property
    def has_writes(self) -> bool:
        """Whether something must be committed even if no message comes."""
        return bool(self._writes)

    def restart(self, fields: Mapping[str, bytes]) -> None:
        """Start over from what the store says."""
        self._fields = fields
        self._writes.clear()

    def note_unreadable(self, reason: str) -> None:
        """The store did not tell which circuits are open."""
        self.unreadable += 1
        log.warning("breakers.unreadable", reason=reason, effect="all circuits count as closed")

    def orders(self) -> dict[str, Order]:
        """Target -> what an operator wants of it."""
        prefix = order_field("")
        found = {}
        for name, text in self._fields.items():
            if name.startswith(prefix) and (order := self._read(name, text, Order)) is not None:
                found[name.removeprefix(prefix)] = order
        return found

    def circuits(self) -> Iterator[tuple[str, str, CircuitRecord]]:
        """Sender, which may be empty, target and record of each circuit; what is no record is dropped."""
        for name, text in self._fields.items():
            pair = pair_of(name)
            if pair is None:
                continue
            record = self._read(name, text, CircuitRecord)
            if record is None:
                self._writes[name] = None
            else:
                yield *pair, record

    def put(self, sender: str, target: str, record: CircuitRecord) -> None:
        """Write that a circuit is open."""
        name = circuit_field(sender, target)
        self._writes[name] = signed(self._macs, _purpose(name), msgspec.json.encode(record))

    def drop(self, sender: str, target: str) -> None:
        """Write that a circuit is closed."""
        self._writes[circuit_field(sender, target)] = None

    def is_new(self, target: str, order: Order) -> bool:
        """Whether an order is seen for the first time, which is noted."""
        name = seen_field(target)
        seen = signed(self._macs, _purpose(name), str(order.at).encode())
        if self._fields.get(name) == seen:
            return False
        self._writes[name] = seen
        return True

    def write(self, commit: Commit) -> None:
        """Put what changed into a commit."""
        for name, text in self._writes.items():
            commit.set_breaker(name, text)
        self._writes.clear()

    def _read(self, name: str, text: bytes, kind: type[_Kept]) -> _Kept | None:
        data = verified(self._macs, _purpose(name), text)
        try:
            if data is not None:
                return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError:
            pass
        self.unreadable += 1
        log.warning("breaker.unreadable", field=name, effect="the circuit counts as closed")
        return None


def _purpose(name: str) -> str:
    return f"breaker:{name}"
