"""The notary of a system: run it, look at it, its keys, and going on after a restore."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.notary import locked
from mas_core.audit.notary_status import NotaryStatus, PartitionEvidence, WitnessState, live_notaries
from mas_core.audit.process import evidence_folder, serve
from mas_core.audit.restores import RestoreAccepted, accept_now, ask_to_accept
from mas_core.errors import Conflict, DeadlineExceeded, KeyNotFound, LockHeld, SecretUnavailable
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.housekeeping import Housekeeping
from mas_core.ops.run_events import RunEvent
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.settings.target import Target

__all__ = [
    "NotaryStatus",
    "PartitionEvidence",
    "WitnessState",
    "accept_restore",
    "checkpoint_keys",
    "key_info",
    "notaries_status",
    "rotate_key",
    "run_notary",
    "serve_evidence",
]

ACCEPT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NotariesStatus:
    """Who signs the audit."""

    notaries: list[NotaryStatus]
    now: int
    """Unix milliseconds by the server's clock."""


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """One key that signs, or signed, checkpoints."""

    number: int
    """How many rotations came before it."""
    vkey: str
    """The public key as verifiers pin it (C2SP)."""
    is_current: bool


async def run_notary(
    target: Target,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    *,
    folder: Path | None = None,
) -> None:
    """Run the notary of a system until `stop` is set; it signs what is there before it ends.

    Raises:
        LockHeld: Another notary has the folder.
        SecretUnavailable: There is no folder of keys.
        ConfigurationError: The evidence folder is not known or cannot be used.
        StoreUnreachable: The server does not answer.
    """

    def tell(notary_id: str) -> None:
        on_event(RunEvent("ready", f"{notary_id} signs the audit", agent_id=notary_id))

    await serve_evidence(target, stop, folder=folder, on_ready=tell)
    on_event(RunEvent("stopped", "the notary has ended"))


async def serve_evidence(
    target: Target,
    stop: asyncio.Event,
    *,
    folder: Path | None = None,
    is_waiting: bool = False,
    on_ready: Callable[[str], None] = lambda _notary_id: None,
) -> None:
    """Run a notary, and beside it what archive and retention want; arguments and errors as for `process.serve`."""
    housekeeping = Housekeeping(target, folder)
    beside = asyncio.create_task(housekeeping.run(stop))
    try:
        await serve(
            target,
            stop,
            folder=folder,
            is_waiting=is_waiting,
            on_ready=on_ready,
            alarm=lambda: housekeeping.problem,
        )
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)


async def notaries_status(system: System) -> NotariesStatus:
    """The notaries that run now.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    records = system.store.records
    now = await records.time_ms()
    return NotariesStatus(live_notaries(await records.notaries(), now), now)


def key_info(target: Target, folder: Path | None = None) -> list[EvidenceKey]:
    """The keys of the evidence, the oldest first.

    Raises:
        KeyNotFound: Nothing was signed yet.
        ConfigurationError: The folder is not known or cannot be used.
    """
    keys = checkpoint_keys(target, folder)
    last = len(keys.public) - 1
    return [EvidenceKey(number, str(key), number == last) for number, key in enumerate(keys.public)]


async def rotate_key(system: System, folder: Path | None = None, *, is_old_lost: bool = False) -> EvidenceKey:
    """Sign with a new key from the next checkpoint on.

    Args:
        system: The system.
        folder: The evidence folder; as the project says when left out.
        is_old_lost: The old key cannot vouch for the new one: verifiers have to pin that anew.

    Raises:
        KeyNotFound: Nothing was signed yet.
        SecretUnavailable: The old key cannot be used.
        ConfigurationError: The folder is not known or cannot be used.
    """
    keys = checkpoint_keys(system.target, folder)
    with acting("audit.key.rotate", keys.name):
        async with system.operator_log.writing("audit key", change={"old_lost": is_old_lost}) as change:
            new = keys.rotate(is_old_lost=is_old_lost)
            change.facts = {"old_lost": is_old_lost, "key": str(new)}
    return EvidenceKey(len(keys.public) - 1, str(new), is_current=True)


async def accept_restore(system: System, reason: str, folder: Path | None = None) -> list[int]:
    """Sign on although the store does not continue the evidence: those partitions begin a new era.

    Args:
        system: The system, whose evidence folder is on this machine.
        reason: Why; it stands in the new evidence.
        folder: The evidence folder; as the project says when left out.

    Returns:
        The partitions that began anew.

    Raises:
        Conflict: Every partition continues its evidence.
        EvidenceDamaged: The evidence does not reach to what the store still has.
        DeadlineExceeded: The notary did not answer.
    """
    target = system.target
    place = folder or evidence_folder(target)
    if target.keys_dir is None:
        raise SecretUnavailable("this needs the folder of keys", hint="mas context add NAME --keys-dir DIR")
    request = RestoreAccepted(reason=reason, by=system.actor, time=await system.store.records.time_ms())
    try:
        with locked(place):
            begun = await accept_now(place, target.keys_dir, system.store, request)
    except LockHeld:
        begun = await _asked(system, place, request)
    if not begun:
        raise Conflict(
            "the store continues the evidence, so there is nothing to accept", hint="mas audit verify"
        )
    return begun


async def _asked(system: System, folder: Path, request: RestoreAccepted) -> list[int]:
    """Have the running notary do it."""
    refused = await _refused(system)
    if not refused:
        return []
    path = ask_to_accept(folder, request)
    deadline = time.monotonic() + ACCEPT_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        if not path.exists():
            break
    else:
        path.unlink(missing_ok=True)
        raise DeadlineExceeded("the notary did not answer", hint="mas audit notary status")
    while time.monotonic() < deadline:
        if not (still := await _refused(system)):
            return refused
        await asyncio.sleep(0.2)
    raise Conflict(
        f"partition {', '.join(map(str, still))} could not begin anew", hint="tail .mas/logs/notary.log"
    )


async def _refused(system: System) -> list[int]:
    found = await notaries_status(system)
    return [
        item.partition for notary in found.notaries for item in notary.partitions if item.state == "refused"
    ]


def checkpoint_keys(target: Target, folder: Path | None = None) -> CheckpointKeys:
    """The keys that sign the checkpoints of a system.

    Args:
        target: The system.
        folder: The evidence folder; as the project says when left out.

    Raises:
        KeyNotFound: Nothing was signed yet.
        SecretUnavailable: The folder of keys is not known here.
    """
    place = folder or evidence_folder(target)
    if not (place / "audit.pub").exists():
        raise KeyNotFound(
            f"{place} has no key yet: nothing was signed", hint=("mas up", "mas audit notary run")
        )
    if target.keys_dir is None:
        raise SecretUnavailable("this needs the folder of keys", hint="mas context add NAME --keys-dir DIR")
    return CheckpointKeys(place, target.keys_dir, target.namespace)
