"""Messages that wait for a person: list them, look into one, approve and reject."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import msgspec

from mas_core.errors import (
    AlreadyDecided,
    ApprovalNotFound,
    DecryptionFailed,
    IntegrityError,
    RoleForbidden,
    UsageError,
)
from mas_core.model.approval import (
    APPROVAL_ID,
    ApprovalDecision,
    ApprovalOutcome,
    ApprovalState,
    HeldFacts,
    HeldMessage,
    decision_field,
    due_name,
    item_field,
    item_in,
    mac_purpose,
    partition_in,
    seal_purpose,
    seq_in,
    state_of,
)
from mas_core.model.message import Payload
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import signed, verified
from mas_core.security.seals import AtRest

__all__ = [
    "ApprovalDecision",
    "ApprovalOutcome",
    "Decided",
    "HeldFacts",
    "Waiting",
    "decide",
    "get",
    "list_waiting",
    "payload",
]

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Waiting:
    """A held message that no gateway has taken up yet."""

    facts: HeldFacts
    state: ApprovalState
    age: float
    """Seconds since it is held."""
    expires_in: float
    """Seconds until nobody can approve it any more."""
    decision: ApprovalDecision | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided, and what became of the message."""

    facts: HeldFacts
    approved: bool
    outcome: ApprovalOutcome | None
    """None when no gateway has taken it up in time; it will."""


async def list_waiting(system: System) -> list[Waiting]:
    """The held messages of all partitions, the oldest first."""
    now = await system.store.connection.time_ms()
    found = []
    for fields in await system.store.records.held():
        for name in fields:
            approval_id = item_in(name)
            if approval_id is not None and APPROVAL_ID.fullmatch(approval_id):
                facts = _facts(system, approval_id, fields.get(name))
                if facts is not None:
                    decision = _decision(system, approval_id, fields.get(decision_field(approval_id)))
                    found.append(_waiting(facts, decision, now))
    return sorted(found, key=lambda item: (item.facts.held_at, seq_in(item.facts.approval_id)))


async def get(system: System, approval_id: str) -> Waiting:
    """One held message.

    Raises:
        ApprovalNotFound: Nothing waits for this approval.
        UsageError: This cannot be the id of one.
    """
    partition = _partition(system, approval_id)
    item, decided = await system.store.records.held_fields(
        partition, item_field(approval_id), decision_field(approval_id)
    )
    facts = _facts(system, approval_id, item)
    if facts is None:
        raise _not_found(approval_id)
    now = await system.store.connection.time_ms()
    return _waiting(facts, _decision(system, approval_id, decided), now)


async def payload(system: System, approval_id: str) -> Payload:
    """The payload as it would be delivered: what the policy takes out is not in it.

    Raises:
        ApprovalNotFound: Nothing waits for this approval.
        SecretUnavailable: The gateway's key is not on this machine.
        IntegrityError: What is stored was not written by this system.
    """
    sealed = await system.store.records.body_for_later(_partition(system, approval_id), due_name(approval_id))
    if sealed is None:
        raise _not_found(approval_id)
    try:
        text = AtRest(system.keys.at_rest_key).open(seal_purpose(approval_id), sealed)
        held = msgspec.msgpack.decode(text, type=HeldMessage)
        value: Payload = msgspec.json.decode(held.delivery.data, type=dict[str, object])
    except (DecryptionFailed, msgspec.DecodeError) as error:
        raise IntegrityError(f"the message of approval {approval_id} cannot be read") from error
    return value


async def decide(
    system: System, approval_id: str, *, approved: bool, reason: str = "", wait_s: float = 5.0
) -> Decided:
    """Approve or reject a held message, if nobody has yet; the first decision counts for good.

    Args:
        system: The system.
        approval_id: As in the list.
        approved: Whether it may go.
        reason: Why, in words; it is kept in the audit.
        wait_s: Seconds to wait for what becomes of it.

    Raises:
        ApprovalNotFound: Nothing waits for this approval, or it expired.
        AlreadyDecided: Somebody else was first.
        UsageError: This cannot be the id of one.
    """
    partition = _partition(system, approval_id)
    try:
        facts = (await get(system, approval_id)).facts
    except ApprovalNotFound:
        await _raise_if_decided(system, partition, approval_id)
        raise
    now = await system.store.connection.time_ms()
    field = decision_field(approval_id)
    text = msgspec.json.encode(ApprovalDecision(approved, system.actor, now, reason[:500]))
    change = {
        "approved": approved,
        "message_id": facts.message_id,
        "sender": facts.sender,
        "target": facts.target,
        "type": facts.type,
    }
    with acting("approval.approve" if approved else "approval.reject", approval_id, reason=reason):
        async with system.operator_log.writing("approval", change=change) as noted:
            result, before = await system.store.records.decide(
                partition,
                due_name(approval_id),
                item_field(approval_id),
                field,
                signed(system.keys, mac_purpose(field), text),
            )
            noted.facts = {**change, "result": result}
    match result:
        case "ok":
            outcome = await _outcome(system, partition, approval_id, wait_s)
            return Decided(facts, approved, outcome)
        case "decided":
            decision = _decision(system, approval_id, before)
            raise _decided_before(
                approval_id, decision.by if decision else "", approved=decision.approved if decision else None
            )
        case "late":
            raise ApprovalNotFound(
                f"approval {approval_id} expired: nobody decided in time",
                hint=f"mas audit get {facts.message_id}",
                approval=approval_id,
            )
        case _:
            await _raise_if_decided(system, partition, approval_id)
            raise _not_found(approval_id)


async def _raise_if_decided(system: System, partition: int, approval_id: str) -> None:
    """Tell who comes second what was decided, also when it is carried out already."""
    text = await system.store.records.approval_outcome(partition, approval_id)
    outcome = msgspec.json.decode(text, type=ApprovalOutcome) if text is not None else None
    if outcome is not None and outcome.approved is not None:
        raise _decided_before(approval_id, outcome.by, approved=outcome.approved)


async def _outcome(system: System, partition: int, approval_id: str, wait_s: float) -> ApprovalOutcome | None:
    deadline = time.monotonic() + wait_s
    while True:
        text = await system.store.records.approval_outcome(partition, approval_id)
        if text is not None:
            return msgspec.json.decode(text, type=ApprovalOutcome)
        if time.monotonic() >= deadline:
            return None
        await asyncio.sleep(_POLL_S)


def _partition(system: System, approval_id: str) -> int:
    if not APPROVAL_ID.fullmatch(approval_id):
        raise UsageError(f"{approval_id!r} cannot be the id of an approval", hint="mas approval list")
    partition = partition_in(approval_id)
    if partition >= system.store.width:
        raise _not_found(approval_id)
    return partition


def _facts(system: System, approval_id: str, text: bytes | None) -> HeldFacts | None:
    """What the gateway wrote; anything else counts as not there."""
    data = verified(system.keys, mac_purpose(item_field(approval_id)), text or b"")
    return msgspec.json.decode(data, type=HeldFacts) if data is not None else None


def _decision(system: System, approval_id: str, text: bytes | None) -> ApprovalDecision | None:
    data = None
    # Who may not decide has no key to tell a decision from a forged one, and sees none.
    with contextlib.suppress(RoleForbidden):
        data = verified(system.keys, mac_purpose(decision_field(approval_id)), text or b"")
    return msgspec.json.decode(data, type=ApprovalDecision) if data is not None else None


def _waiting(facts: HeldFacts, decision: ApprovalDecision | None, now: int) -> Waiting:
    return Waiting(
        facts,
        state_of(facts.expires_at, decision, now),
        max(0, now - facts.held_at) / 1000,
        max(0, facts.expires_at - now) / 1000,
        decision,
    )


def _not_found(approval_id: str) -> ApprovalNotFound:
    return ApprovalNotFound(
        f"nothing waits for approval {approval_id}: it is decided, expired, or never was",
        hint="mas approval list",
        approval=approval_id,
    )


def _decided_before(approval_id: str, by: str, *, approved: bool | None) -> AlreadyDecided:
    if approved is None:
        return AlreadyDecided(f"somebody has decided about {approval_id} already", approval=approval_id)
    word = "approved" if approved else "rejected"
    return AlreadyDecided(
        f"{by} has {word} {approval_id} already", approval=approval_id, by=by, approved=approved
    )
