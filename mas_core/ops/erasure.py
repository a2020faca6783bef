"""Erasure: make what was kept of one subject's payloads unreadable for good, and say what stays.

The audit holds no payloads, only digests and keyed fingerprints; where copies of payloads are kept they are sealed
under a key of their subject. Destroying that key erases all of them at once, in backups and archives too, and
changes no record: the chain verifies as before.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from mas_core.audit.payload_keys import FOLDER_NAME, PayloadKeys
from mas_core.errors import KeyNotFound, SecretUnavailable
from mas_core.model.audit_record import AuditRecord
from mas_core.ops import audit
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting

__all__ = ["Erasure", "Remainder", "erase", "sealed_key"]

COUNTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Remainder:
    """Something that an erasure leaves."""

    what: str
    count: int
    why: str
    """What it is, and why it stays."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, and what stays."""

    subject: str
    key_id: str
    """The key that is gone."""
    copies: int
    """Sealed copies that nobody can read any more."""
    stays: tuple[Remainder, ...]


async def erase(
    system: System,
    subject: str,
    *,
    reason: str,
    dry_run: bool = False,
    on_counted: Callable[[int], object] = lambda _count: None,
) -> Erasure:
    """Destroy the key under which copies of a subject's payloads are sealed.

    The audit records that it was done, with the id of the key and a keyed fingerprint in place of the subject:
    a name in the chain could not be erased.

    Args:
        system: The system.
        subject: Whose payloads.
        reason: Why, in words; it is recorded as it is.
        dry_run: Destroy nothing, and tell what would be erased and what would stay.
        on_counted: Told now and then how many records were looked at.

    Raises:
        KeyNotFound: Nothing is sealed for this subject.
        SecretUnavailable: The keys are not at hand.
        UsageError: This cannot be a subject.
    """
    if system.target.keys_dir is None:
        raise SecretUnavailable("this needs the keys of payloads", hint="run it in the project folder")
    keys = await asyncio.to_thread(PayloadKeys, system.target.keys_dir / FOLDER_NAME)
    found = await asyncio.to_thread(keys.find, subject)
    if found is None:
        raise KeyNotFound(
            "no copy of a payload is sealed for this subject, so there is nothing to erase",
            hint="mas audit list --target AGENT",
        )
    places, named = await _counted(system, subject, found.key_id, on_counted)
    copies = sum(map(len, places.values()))
    if not dry_run:
        facts = {
            "key": found.key_id,
            "subject_hmac": system.keys.payload_hmac(subject.encode()),
            "copies": copies,
        }
        with acting("audit.erase", reason=reason):
            async with system.operator_log.writing("payload_key", change=facts):
                await asyncio.to_thread(keys.destroy, subject)
                # Nobody can read these any more; they only take room.
                for partition, seqs in places.items():
                    await system.store.records.drop_payload_copies(partition, seqs)
    return Erasure(subject, found.key_id, copies, _remainders(copies, named))


def sealed_key(record: AuditRecord) -> str:
    """The id of the key under which a copy of a record's payload is sealed; empty when there is none."""
    sealed = record.details.get("sealed")
    key_id = sealed.get("key") if isinstance(sealed, dict) else None
    return key_id if isinstance(key_id, str) else ""


async def _counted(
    system: System, subject: str, key_id: str, on_counted: Callable[[int], object]
) -> tuple[dict[int, array[int]], int]:
    """Which records, by partition, have a copy under the key, and how many name the subject itself."""
    places: dict[int, array[int]] = {}
    named = seen = 0
    async with aclosing(audit.records(system, newest_first=False)) as records:
        async for item in records:
            record = item.record
            seen += 1
            if sealed_key(record) == key_id:
                places.setdefault(item.partition, array("Q")).append(record.seq)
            named += subject in (record.sender, record.target, record.message_id, record.correlation_id)
            if seen % COUNTED_AT_ONCE == 0:
                on_counted(seen)
    return places, named


def _remainders(copies: int, named: int) -> tuple[Remainder, ...]:
    return (
        Remainder(
            "digests of sealed copies",
            copies,
            "of what nobody can read any more; the chain is made of them",
        ),
        Remainder(
            "keyed fingerprints of payloads",
            copies,
            "show that a payload was the same, to who has both the payload and the key; destroy the key of "
            "fingerprints to end that for all subjects",
        ),
        Remainder(
            "records that name the subject",
            named,
            "as sender, target or id: who decided what, and when; records cannot be changed",
        ),
    )
