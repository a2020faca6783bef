"""Prepares batches for an owner: takes frames that were read, opens them, and asks what judging them needs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mas_core.base.failpoints import failpoint
from mas_core.base.ids import GATEWAY
from mas_core.gateway.committer import Committer
from mas_core.gateway.directory import Directory
from mas_core.gateway.judge import Judge
from mas_core.gateway.opening import OpenedFrame, Opener
from mas_core.gateway.places import Places
from mas_core.gateway.read_ahead import ReadAhead
from mas_core.model.message import BEAT
from mas_core.store.lookups import Lookups
from mas_core.store.partitions import PartitionStore
from mas_core.store.stored import StoredFrame

MAX_DUE_MESSAGES = 500
MAX_DUE_BYTES = 1_000_000
"""Messages that were kept for later are taken up in batches of so many bytes, or one by one."""
MORE_DUE_S = 0.02
"""When they are looked for again where more were due; those in hand are committed by then, or asked for twice."""
DUE_INTERVAL_S = 0.25
"""How often messages that were kept for later are looked for."""
TIME_HOLDS_S = 1.0
"""How long the server's clock is carried on by our own before it is asked again."""

BEATS_WAIT_S = 0.1
"""How long heartbeats wait for others when nothing else comes: a commit costs the same for one and for many."""
MAX_WAITING_BEATS = 512


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch of opened frames with the answers that judging them needs."""

    opened: list[OpenedFrame]
    lookups: Lookups
    operator_entries: list[StoredFrame]


class Preparer:
    """What comes before judging, in one partition."""

    def __init__(
        self,
        partition: PartitionStore,
        read_ahead: ReadAhead,
        opener: Opener,
        committer: Committer,
        places: Places,
        directory: Directory,
    ) -> None:
        self._partition = partition
        self._read_ahead = read_ahead
        self._opener = opener
        self._committer = committer
        self._places = places
        self._directory = directory
        self._in_hand: list[StoredFrame] = []
        self._condemned: set[tuple[str, str]] = set()
        self._server_time = (0, 0.0)
        """What the server's clock last said, and when, by the monotonic clock."""
        self._due_at = 0.0
        self.is_asking = False
        """Whether an answer of the store is on its way."""

    def start_from(self, now: int) -> None:
        """The server's clock says this."""
        self._server_time = (now, time.monotonic())

    def condemn(self) -> None:
        """The batch taken last cannot be judged: if it is a single frame, it is not tried again."""
        if len(self._in_hand) == 1:
            self._condemned.add((self._in_hand[0].lane, self._in_hand[0].entry))

    async def next(self, judge: Judge, *, one: bool) -> PreparedBatch:
        """Wait for frames, open them, and ask what judging them needs.

        Args:
            judge: Knows what that is.
            one: Take one frame only.
        """
        await self._read_ahead.wait(max(0.0, self._due_at - time.monotonic()))
        self._in_hand = self._read_ahead.take(one=one)
        # While the audit takes no records they stay where they are.
        entries = [] if self._committer.is_audit_blocked else self._read_ahead.take_operator_entries()
        if self._in_hand:
            failpoint("gateway.taken")
        opened = [self._open(stored) for stored in self._in_hand]
        if not (one or entries):
            await self._gather_beats(opened)
        if opened:
            failpoint("gateway.opened")
        told, at = self._server_time
        since_s = time.monotonic() - at
        now = told + int(since_s * 1000)
        lookups = self._partition.lookups()
        judge.ask(opened, lookups, now)
        if time.monotonic() >= self._due_at:
            lookups.due_messages(now, MAX_DUE_MESSAGES, MAX_DUE_BYTES)
            self._due_at = time.monotonic() + DUE_INTERVAL_S
        if opened and lookups.is_empty and since_s < TIME_HOLDS_S:
            # Nothing to wait for. A policy that has changed meanwhile is noticed by the commit.
            lookups.now, lookups.policy_revision = now, self._committer.revision
        else:
            self.is_asking = True
            try:
                await lookups.run()
            finally:
                self.is_asking = False
            self._server_time = (lookups.now, time.monotonic())
            if lookups.has_more_due:
                self._due_at = time.monotonic() + MORE_DUE_S
            failpoint("gateway.looked_up")
        self._places.reserved(lookups.grants)
        if judge.needs_registry(opened, now):
            await self._directory.roster.refresh()
        return PreparedBatch(opened, lookups, entries)

    async def _gather_beats(self, opened: list[OpenedFrame]) -> None:
        """Let heartbeats that come alone wait for others; whatever else comes takes them along at once."""
        newest, ends_at = opened, time.monotonic() + BEATS_WAIT_S
        while newest and len(opened) < MAX_WAITING_BEATS and all(map(_is_beat, newest)):
            await self._read_ahead.wait(max(0.0, ends_at - time.monotonic()))
            more = self._read_ahead.take()
            self._in_hand += more
            newest = [self._open(stored) for stored in more]
            opened += newest

    def _open(self, stored: StoredFrame) -> OpenedFrame:
        if (stored.lane, stored.entry) in self._condemned:
            return OpenedFrame(stored, rejection="the frame cannot be judged")
        return self._opener.open(stored)


def _is_beat(opened: OpenedFrame) -> bool:
    return (
        opened.targets == {GATEWAY}
        and opened.envelopes is not None
        and all(envelope.type == BEAT for envelope in opened.envelopes)
    )
