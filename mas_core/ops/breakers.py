"""Circuits: which are open and why; open or reset them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from mas_core.errors import UsageError
from mas_core.model.breaker import (
    UNTIL_RESET,
    CircuitRecord,
    Order,
    circuit_field,
    order_field,
    pair_of,
)
from mas_core.model.policy import PolicyDocument
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import signed, verified

__all__ = ["CircuitStatus", "is_on", "list_circuits", "open_circuit", "reset_circuits"]

_Kept = TypeVar("_Kept", CircuitRecord, Order)


@dataclass(frozen=True, slots=True)
class CircuitStatus:
    """One circuit that is not closed."""

    target: str
    sender: str
    """Of a pair; empty for the circuit of the target, which counts for all senders."""
    state: str
    """open or half_open; closed after a reset."""
    why: str
    failures: int
    since: int
    """Unix milliseconds by the server's clock."""
    until: int | None
    """Unix milliseconds from which on trials pass; None where only a reset ends it."""
    retry_in: float | None
    """Seconds until then; 0 when trials pass already."""
    backup: str
    """Who gets the messages meanwhile; empty when nobody does."""
    by: str = ""
    """user@host, if an operator opened it."""


async def list_circuits(system: System, targets: tuple[str, ...] = ()) -> list[CircuitStatus]:
    """The circuits that are not closed, of these targets or of all, by target and sender.

    Raises:
        AgentNotFound: A target is not registered.
    """
    await require_agents(system, *targets)
    policy = await system.policy.load() or PolicyDocument()
    if not policy.features.circuit_breaker:
        return []
    now = await system.store.connection.time_ms()
    found = [
        status
        for fields in await system.store.records.breakers()
        for status in _of_partition(system, fields, policy, now)
        if not targets or status.target in targets
    ]
    return sorted(found, key=lambda status: (status.target, status.sender))


async def is_on(system: System) -> bool:
    """Whether breakers are on in the policy."""
    return (await system.policy.load() or PolicyDocument()).features.circuit_breaker


async def open_circuit(system: System, target: str, *, seconds: float = 0, reason: str = "") -> None:
    """Let nothing pass to a target; in force on every gateway when this returns.

    Args:
        system: The system.
        target: The agent.
        seconds: For how long; then trials pass. 0 for until it is reset.
        reason: Why, in words.

    Raises:
        AgentNotFound: The target is not registered.
        UsageError: Breakers are off.
    """
    if not await is_on(system):
        raise UsageError(
            "breakers are off in the policy, so an open circuit would keep nothing back",
            hint="mas policy set circuit_breaker on",
        )
    await _order(system, target, "open", seconds, reason)


async def reset_circuits(system: System, target: str, *, reason: str = "") -> list[CircuitStatus]:
    """Close all circuits of a target; in force on every gateway when this returns.

    Returns:
        The circuits that were open or half-open, as they are now.

    Raises:
        AgentNotFound: The target is not registered.
    """
    before = await list_circuits(system, (target,))
    await _order(system, target, "reset", 0, reason)
    return [
        replace(status, state="closed", why="", failures=0, until=None, retry_in=None) for status in before
    ]


async def _order(system: System, target: str, action: str, seconds: float, reason: str) -> None:
    await require_agents(system, target)
    now = await system.store.connection.time_ms()
    until = now + int(seconds * 1000) if seconds else UNTIL_RESET
    if action == "open":
        order = Order("open", now, system.actor, reason, until)
    else:
        order = Order("reset", now, system.actor, reason)
    field = order_field(target)
    text = signed(system.keys, f"breaker:{field}", msgspec.json.encode(order))
    change = {"until": order.until} if action == "open" else {}
    with acting(f"breaker.{action}", target, reason=reason):
        async with system.operator_log.writing("breaker", change=change):
            await system.store.records.put_breaker_order(target, field, text)
            await system.store.records.raise_revision()


def _of_partition(
    system: System, fields: Mapping[str, bytes], policy: PolicyDocument, now: int
) -> Iterator[CircuitStatus]:
    orders = {
        name.removeprefix(order_field("")): order
        for name, text in fields.items()
        if name.startswith(order_field("")) and (order := _read(system, name, text, Order)) is not None
    }
    for name, text in fields.items():
        pair = pair_of(name)
        record = _read(system, name, text, CircuitRecord) if pair is not None else None
        if pair is None or record is None:
            continue
        sender, target = pair
        order = orders.get(target)
        if order is None or order.at < record.since:
            yield _status(sender, target, record, policy, now)
    for target, order in orders.items():
        if order.action != "open" or order.until <= now:
            continue
        newer = fields.get(circuit_field("", target))
        known = _read(system, circuit_field("", target), newer, CircuitRecord) if newer is not None else None
        if known is None or known.since <= order.at:
            ends = order.until < UNTIL_RESET
            yield CircuitStatus(
                target,
                "",
                "open",
                order.reason or "opened by an operator",
                0,
                order.at,
                order.until if ends else None,
                (order.until - now) / 1000 if ends else None,
                policy.backups.get(target, ""),
                order.by,
            )


def _status(
    sender: str, target: str, record: CircuitRecord, policy: PolicyDocument, now: int
) -> CircuitStatus:
    if sender:
        why = "its payloads are refused" if record.is_payload else "handlers fail on its messages"
    else:
        why = "no instance ran" if record.is_absent else "it fails"
    backup = "" if record.is_payload else policy.backups.get(target, "")
    retry_in = max(0, record.until - now) / 1000
    state = "open" if retry_in else "half_open"
    return CircuitStatus(
        target, sender, state, why, record.failures, record.since, record.until, retry_in, backup
    )


def _read(system: System, name: str, text: bytes, kind: type[_Kept]) -> _Kept | None:
    """What a gateway or an operator wrote; anything else counts as not there."""
    data = verified(system.keys, f"breaker:{name}", text)
    try:
        return None if data is None else msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError:
        return None
