"""Messages that were sent for later: list them, look into one, cancel them before they are due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import AGENT_ID, partition_of
from mas_core.errors import (
    Conflict,
    DecryptionFailed,
    GatewayDown,
    IntegrityError,
    MasError,
    ScheduleNotFound,
)
from mas_core.model.message import Payload
from mas_core.model.scheduled import (
    Cancellation,
    ScheduledFacts,
    ScheduledMessage,
    ScheduleOutcome,
    cancel_field,
    item_in,
    mac_purpose,
    seal_purpose,
)
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import signed, verified
from mas_core.security.seals import AtRest

__all__ = ["Cancelled", "Scheduled", "ScheduledFacts", "cancel", "get", "list_scheduled", "payload"]

MAX_REASON = 500
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A message that is not due yet, or that cannot be delivered for the moment."""

    facts: ScheduledFacts
    due_in: float
    """Seconds until it is due; negative when it is overdue."""
    is_cancelled: bool = False
    """Whether somebody has cancelled it, and no gateway has taken that up yet."""

    @property
    def id(self) -> str:
        """What it is called: target, sender and message id with slashes between."""
        return self.facts.id


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a message that was to be cancelled."""

    name: str
    """As it was named."""
    facts: ScheduledFacts | None = None
    """None when there is no such message."""
    error: MasError | None = None
    """Why it is not cancelled."""


async def list_scheduled(system: System, *, sender: str = "", target: str = "") -> list[Scheduled]:
    """The scheduled messages of all partitions, the next first.

    Args:
        system: The system.
        sender: Only from this agent.
        target: Only to this agent.
    """
    now = await system.store.connection.time_ms()
    found = []
    for fields in await system.store.schedule.fields():
        for field, text in fields.items():
            name = item_in(field)
            facts = _facts(system, field, text) if name is not None else None
            if facts is None or facts.id != name:
                continue
            if sender in {"", facts.sender} and target in {"", facts.target}:
                found.append(Scheduled(facts, (facts.due - now) / 1000, cancel_field(name) in fields))
    return sorted(found, key=lambda item: (item.facts.due, item.id))


async def get(system: System, name: str) -> Scheduled:
    """One scheduled message.

    Args:
        system: The system.
        name: The id of the message, or target, sender and id with slashes between.

    Raises:
        ScheduleNotFound: Nothing of this name is scheduled.
        Conflict: Several scheduled messages have this id.
    """
    return _one(name, await list_scheduled(system))


async def payload(system: System, name: str) -> Payload:
    """The payload as it would be delivered by the policy that was in force when it was sent.

    Raises:
        ScheduleNotFound, Conflict: As for `get`.
        SecretUnavailable: The gateway's key is not on this machine.
        IntegrityError: What is stored was not written by this system.
    """
    found = await get(system, name)
    partition = partition_of(found.facts.target, system.store.partitions)
    sealed = await system.store.schedule.body(partition, found.id)
    if sealed is None:
        raise _not_found(name)
    try:
        text = AtRest(system.keys.at_rest_key).open(seal_purpose(found.id), sealed)
        message = msgspec.msgpack.decode(text, type=ScheduledMessage)
        value: Payload = msgspec.json.decode(message.delivery.data, type=dict[str, object])
    except (DecryptionFailed, msgspec.DecodeError) as error:
        raise IntegrityError(f"the scheduled message {name} cannot be read") from error
    return value


async def cancel(
    system: System, names: Iterable[str], *, reason: str = "", wait_s: float = 5.0
) -> list[Cancelled]:
    """Cancel scheduled messages: they are never delivered, and are not kept.

    Args:
        system: The system.
        names: Names as for `get`.
        reason: Why, in words; it is kept in the audit. The reason that the operator gave if left out.
        wait_s: Seconds to wait until a gateway has taken it up.
    """
    wanted = list(dict.fromkeys(names))
    listed = await list_scheduled(system)
    wait_s = wait_s if await system.gateways() else 0.0
    results = {}
    found: dict[str, Scheduled] = {}
    for name in wanted:
        try:
            found[name] = _one(name, listed)
        except MasError as error:
            results[name] = Cancelled(name, error=error)
    words = await _place(system, found, reason) if found else {}
    deadline = time.monotonic() + wait_s
    for name, item in found.items():
        refusal = _refusal(name, words[name]) or await _outcome(system, name, item.facts, deadline)
        results[name] = Cancelled(name, item.facts, refusal)
    return [results[name] for name in wanted]


async def _place(system: System, found: dict[str, Scheduled], reason: str) -> dict[str, str]:
    """Write cancellations, which is recorded before and after."""
    now = await system.store.connection.time_ms()
    why = (reason or system.operator_log.operator.reason)[:MAX_REASON]
    text = msgspec.json.encode(Cancellation(system.actor, now, why))
    change: dict[str, object] = {"messages": [item.id for item in found.values()]}
    words = {}
    with acting("schedule.cancel", *found, reason=reason):
        async with system.operator_log.writing("schedule", change=change) as noted:
            for name, item in found.items():
                partition = partition_of(item.facts.target, system.store.partitions)
                sealed = signed(system.keys, mac_purpose(cancel_field(item.id)), text)
                words[name] = await system.store.schedule.cancel(partition, item.id, sealed)
            noted.facts = {**change, "results": list(words.values())}
    return words


async def _outcome(system: System, name: str, facts: ScheduledFacts, deadline: float) -> MasError | None:
    """Why a cancelled message was delivered all the same, or is not known to be cancelled."""
    partition = partition_of(facts.target, system.store.partitions)
    while True:
        text = await system.store.schedule.outcome(partition, facts.id)
        told = verified(system.keys, mac_purpose(f"outcome:{facts.id}"), text or b"")
        if told is not None:
            outcome = msgspec.json.decode(told, type=ScheduleOutcome)
            return None if outcome.is_cancelled else _late(name)
        if time.monotonic() >= deadline:
            return GatewayDown(
                f"{name} is cancelled, but no gateway has taken that up yet",
                hint=("mas gateway status", "mas gateway run"),
                scheduled=name,
            )
        await asyncio.sleep(_POLL_S)


def _one(name: str, listed: list[Scheduled]) -> Scheduled:
    found = [item for item in listed if name in (item.id, item.facts.message_id)]
    if not found:
        raise _not_found(name)
    if len(found) > 1:
        raise Conflict(
            f"{len(found)} scheduled messages have the id {name}",
            hint=tuple(f"mas schedule get {item.id}" for item in found[:5]),
            scheduled=[item.id for item in found],
        )
    return found[0]


def _facts(system: System, field: str, text: bytes) -> ScheduledFacts | None:
    """What the gateway wrote; anything else counts as not there."""
    data = verified(system.keys, mac_purpose(field), text)
    facts = msgspec.json.decode(data, type=ScheduledFacts) if data is not None else None
    return facts if facts is not None and AGENT_ID.fullmatch(facts.target) else None


def _refusal(name: str, word: str) -> MasError | None:
    match word:
        case "ok" | "decided":
            return None
        case "late":
            return _late(name)
        case _:
            return _not_found(name)


def _late(name: str) -> Conflict:
    message_id = name.rpartition("/")[2]
    return Conflict(
        f"{name} is due already and can be cancelled no more",
        hint=f"mas audit get {message_id}",
        scheduled=name,
    )


def _not_found(name: str) -> ScheduleNotFound:
    message_id = name.rpartition("/")[2]
    return ScheduleNotFound(
        f"nothing of the name {name} is scheduled: it is delivered, cancelled, or never was",
        hint=("mas schedule list", f"mas audit get {message_id}"),
        scheduled=name,
    )
