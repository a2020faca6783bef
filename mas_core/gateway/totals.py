"""What several agents may send together: which totals a message counts in."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.base.ids import GATEWAY
from mas_core.gateway.directory import Directory
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.places import is_counted
from mas_core.model.message import Flag
from mas_core.store.limits import Reservation
from mas_core.store.lookups import Lookups


class Totals:
    """Which totals a message counts in, and how many places of each a batch may need."""

    def __init__(self, directory: Directory, inboxes: Inboxes) -> None:
        self._directory = directory
        self._limits = directory.limits
        self._inboxes = inboxes

    def names(self, sender: str, target: str) -> tuple[str, ...]:
        """The totals that a message from `sender` to `target` counts in."""
        names = self._limits.role_totals(sender)
        capabilities = self._limits.capability_totals
        if capabilities:
            registration = self._directory.registration(target)
            permitted = registration.capabilities if registration else None
            found = self._inboxes.capabilities(target).union(permitted or ())
            names += tuple(capabilities[name] for name in found if name in capabilities)
        return names

    def reservation(self, frames: Sequence[OpenedFrame], lookups: Lookups) -> Reservation:
        """Places for those messages that their senders' own limits let through."""
        left = {
            sender: grant.granted - lookups.owed.get(sender, 0) for sender, grant in lookups.grants.items()
        }
        wanted: dict[str, int] = {}
        for frame in frames:
            if frame.session is None:
                continue
            sender = frame.session.agent_id
            for envelope in frame.envelopes or ():
                if envelope.target == GATEWAY or not is_counted(envelope):
                    continue
                if left.get(sender, 0) <= 0:
                    break
                left[sender] -= 1
                if not envelope.flags & Flag.IS_REPLY:
                    for name in self.names(sender, envelope.target):
                        wanted[name] = wanted.get(name, 0) + 1
        reservation = lookups.new_reservation()
        for name, count in wanted.items():
            reservation.add(name, count, self._limits.totals[name])
        return reservation
