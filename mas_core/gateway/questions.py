"""What must be asked of the store before a batch can be judged, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mas_core.base.ids import GATEWAY, partition_of
from mas_core.gateway.approvals import Approvals
from mas_core.gateway.control_desk import ControlDesk
from mas_core.gateway.decided_ids import DecidedIds, recurring_name
from mas_core.gateway.directory import Directory
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.places import Places, is_counted
from mas_core.gateway.topics import Topics
from mas_core.gateway.totals import Totals
from mas_core.store.lookups import Lookups


class Questions:
    """Asks for one partition; asking changes nothing of what the owner knows."""

    def __init__(
        self,
        directory: Directory,
        inboxes: Inboxes,
        places: Places,
        totals: Totals | None,
        decided: DecidedIds,
        approvals: Approvals,
        desk: ControlDesk,
        topics: Topics,
        *,
        partition: int,
        partitions: int,
        layout: int,
    ) -> None:
        self._directory = directory
        self._inboxes = inboxes
        self._places = places
        self._totals = totals
        self._decided = decided
        self._approvals = approvals
        self._desk = desk
        self._topics = topics
        self._partition = partition
        self._partitions = partitions
        self._layout = layout

    def ask(self, frames: Sequence[OpenedFrame], lookups: Lookups, now: int) -> None:
        """Ask everything that judging these frames needs; `now` may be a little behind."""
        lookups.asked_after = self._inboxes.committed_batches
        senders: dict[str, int] = {}
        recurring: set[str] = set()
        targets: set[str] = set(self._approvals.full)
        asked: set[tuple[str, str]] = set()
        for frame in frames:
            if frame.session is None or frame.header is None:
                continue
            sender = frame.session.agent_id
            if not frame.session.is_known and (sender, frame.header.session) not in asked:
                asked.add((sender, frame.header.session))
                lookups.session(sender, frame.header.session)
            if frame.header.layout != self._layout:
                # Nothing of it is judged.
                continue
            if frame.is_plain:
                senders[sender] = senders.get(sender, 0) + frame.header.count
                targets |= frame.targets
                continue
            for envelope in frame.envelopes or ():
                if envelope.target == GATEWAY:
                    self._desk.ask(sender, envelope, lookups, targets, now)
                    continue
                name = recurring_name(sender, envelope)
                if name:
                    recurring.add(name)
                if is_counted(envelope):
                    senders[sender] = senders.get(sender, 0) + 1
                    targets.add(envelope.target)
        if recurring:
            self._decided.ask(recurring, lookups, now)
        is_limited = self._directory.policy.features.rate_limit
        self._places.ask(lookups, senders if is_limited else {}, self._directory.limits)
        if is_limited and self._totals is not None:
            lookups.ask_totals = partial(self._totals.reservation, frames)
        self._topics.ask(targets, lookups, now)
        targets.update([backup for name, backup in self._directory.policy.backups.items() if name in targets])
        for target in targets:
            is_here = partition_of(target, self._partitions) == self._partition
            if is_here and self._directory.is_registered(target) and not self._inboxes.is_counted(target):
                lookups.backlog(target)
