"""What infrastructure notices about security, on its way into the audit chain.

A gateway or a server in front of it writes a notice into the log that operators' acts take too; the owner of
partition 0 records it. Whoever provokes notices must not fill the audit: beyond a burst, those of one kind become
one a second with a count.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from mas_core.base.ids import check_message_type, new_message_id
from mas_core.base.logs import get_logger
from mas_core.errors import MasError
from mas_core.model.operator_entry import MAC_PURPOSE, OperatorEntry
from mas_core.registry.signed import Macs
from mas_core.store.records import Records

log = get_logger(__name__)

BURST = 128
"""Notices of one kind that are recorded one by one before they are put together."""
REFILL_S = 1.0
"""How long it takes until one more of them is recorded by itself."""
MAX_SUBJECTS = 20
MAX_FACTS = 20
MAX_TEXT = 300
"""Characters kept of a name or a fact."""
MAX_WHOLE = 2**53
"""Greater numbers, such as those of certificates, are kept as text."""
MAX_UNRECORDED = 1000
"""While so many entries wait for a gateway, notices are counted here instead."""


@dataclass(slots=True)
class _Gathered:
    """Notices of one kind that are not written yet."""

    facts: dict[str, object] = field(default_factory=dict)
    """Of the first of them."""
    reason: str = ""
    subjects: dict[str, None] = field(default_factory=dict)
    count: int = 0

    def add(self, other: _Gathered) -> None:
        if not self.count:
            self.facts, self.reason = other.facts, other.reason
        self.count += other.count
        for subject in other.subjects:
            if len(self.subjects) < MAX_SUBJECTS:
                self.subjects[subject] = None


@dataclass(slots=True)
class _Kind:
    allowance: float = BURST
    filled_at: float = field(default_factory=time.monotonic)
    waiting: _Gathered = field(default_factory=_Gathered)

    def take(self) -> bool:
        """Whether one more may be written now."""
        now = time.monotonic()
        self.allowance = min(BURST, self.allowance + (now - self.filled_at) / REFILL_S)
        self.filled_at = now
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True


class SecurityNotices:
    """Writes what was noticed; what cannot be written now is counted and written later.

    Args:
        records: The store's records.
        macs: The gateway's keys, which vouch for notices; None where they are not at hand, so that notices are
            recorded as unauthenticated.
        source: Which program noticed, such as `gateway`.
    """

    def __init__(self, records: Records, macs: Macs | None, source: str) -> None:
        self._records = records
        self._macs = macs
        self._source = source
        self._host = socket.gethostname()
        self._kinds: dict[str, _Kind] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def record(
        self,
        kind: str,
        subject: str = "",
        facts: Mapping[str, object] | None = None,
        *,
        reason: str = "",
    ) -> None:
        """Have a notice recorded; a store that does not answer is no error here, and nothing is lost by it.

        Args:
            kind: What happened, a name that the program knows: `certificate.refused`, `acl.denied`. Never made
                from what a peer sent, as each kind has a budget of its own.
            subject: Agent, address or user that it is about; nobody vouches for it.
            facts: What else is known. Strings are cut; secrets are the caller's to leave out.
            reason: Why, in words.
        """
        check_message_type(kind)
        subjects = {_cut(subject): None} if subject else {}
        found = self._kinds.setdefault(kind, _Kind())
        found.waiting.add(_Gathered(_plain(facts or {}), _cut(reason), subjects, 1))
        if found.take():
            await self._write(kind, found)
        if found.waiting.count and (self._flusher is None or self._flusher.done()):
            self._flusher = asyncio.create_task(self._flush())

    async def close(self) -> None:
        """Write what is still counted, as far as the store takes it."""
        if self._flusher is not None:
            self._flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        for kind, found in list(self._kinds.items()):
            await self._write(kind, found)

    async def _flush(self) -> None:
        while any(found.waiting.count for found in self._kinds.values()):
            await asyncio.sleep(REFILL_S)
            for kind, found in list(self._kinds.items()):
                if found.take():
                    await self._write(kind, found)

    async def _write(self, kind: str, found: _Kind) -> None:
        gathered, found.waiting = found.waiting, _Gathered()
        if not gathered.count:
            return
        is_written = False
        try:
            if await self._records.unrecorded_operator_entries() < MAX_UNRECORDED:
                text = msgspec.json.encode(await self._entry(kind, gathered))
                mac = self._macs.mac(MAC_PURPOSE, text) if self._macs is not None else b""
                await self._records.add_operator_entry(text, mac)
                is_written = True
        except MasError as error:
            log.warning("notice.waits", kind=kind, count=gathered.count, reason=error.message)
        finally:
            if not is_written:
                gathered.add(found.waiting)
                found.waiting = gathered

    async def _entry(self, kind: str, gathered: _Gathered) -> OperatorEntry:
        count = {"count": gathered.count} if gathered.count > 1 else {}
        return OperatorEntry(
            new_message_id(),
            "",
            "noticed",
            await self._records.time_ms(),
            kind,
            actor="",
            host=self._host,
            context=self._source,
            reason=gathered.reason,
            subjects=tuple(gathered.subjects),
            change={**gathered.facts, **count},
        )


def _plain(facts: Mapping[str, object]) -> dict[str, object]:
    return {
        _cut(name): value if isinstance(value, int) and abs(value) <= MAX_WHOLE else _cut(str(value))
        for name, value in list(facts.items())[:MAX_FACTS]
    }


def _cut(text: str) -> str:
    text = text.encode(errors="replace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
