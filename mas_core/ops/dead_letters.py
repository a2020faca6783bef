"""Dead letters: messages that were given up. List them, look into one, retry, drop and restore them.

Here orders are given; the gateway that owns the partition carries them out.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import new_message_id
from mas_core.errors import (
    AlreadyOrdered,
    Conflict,
    GatewayDown,
    IntegrityError,
    MasError,
    Refused,
    UsageError,
)
from mas_core.model.dead_letter import (
    Act,
    LetterFacts,
    LetterOrder,
    OrderOutcome,
    due_purpose,
    outcome_purpose,
)
from mas_core.model.message import Attempt, payload_bytes
from mas_core.ops.dead_letter_views import (
    DeadLetter,
    Group,
    Listing,
    Wanted,
    facts_of,
    find,
    get,
    list_letters,
    not_found,
    one,
    payload,
    stats,
)
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import verified
from mas_core.security.seals import AtRest
from mas_core.store.dead_letters import NewOrder, order_name

__all__ = [
    "Act",
    "Attempt",
    "Carried",
    "DeadLetter",
    "Group",
    "LetterFacts",
    "Listing",
    "Wanted",
    "drop",
    "find",
    "get",
    "list_letters",
    "look_up",
    "order",
    "payload",
    "restore",
    "retry",
    "stats",
]

AT_ONCE = 200
"""Orders that are on their way together."""
MAX_NOTE = 500
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of an order about one dead letter."""

    id: str
    facts: LetterFacts | None
    """None when there is no such dead letter, or none that can be read."""
    act: Act
    outcome: OrderOutcome | None = None
    error: MasError | None = None
    """Why it was not done."""


async def retry(
    system: System,
    ids: Iterable[str],
    *,
    note: str = "",
    data: object = None,
    approve: bool = False,
    rate: float = 0.0,
    wait_s: float = 5.0,
) -> list[Carried]:
    """Deliver dead letters again: each passes the checks once more, with its time to live and attempts anew.

    However often it is ordered, each is delivered once.

    Args:
        system: The system.
        ids: Ids of dead letters, in the order in which they are to be delivered.
        note: Why, in words; it is kept in the audit. The reason that the operator gave if left out.
        data: Deliver this payload instead, and record that it was edited; for a single dead letter.
        approve: Deliver also what a rule holds until somebody approves it; recorded as an approval.
        rate: At most so many a second; 0 for no bound.
        wait_s: Seconds to wait for what becomes of each.

    Raises:
        InvalidPayload: `data` is no payload.
        UsageError: `data` is given for several.
    """
    return [
        one
        async for one in order(
            system, "retry", list(ids), note=note, data=data, approve=approve, rate=rate, wait_s=wait_s
        )
    ]


async def drop(system: System, ids: Iterable[str], *, note: str = "", wait_s: float = 5.0) -> list[Carried]:
    """Drop dead letters; for 24 hours they can be restored.

    Args:
        system: The system.
        ids: Ids of dead letters.
        note: Why, in words; it is kept in the audit. The reason that the operator gave if left out.
        wait_s: Seconds to wait for what becomes of each.
    """
    return [one async for one in order(system, "drop", list(ids), note=note, wait_s=wait_s)]


async def restore(
    system: System, ids: Iterable[str], *, note: str = "", wait_s: float = 5.0
) -> list[Carried]:
    """Take back that dead letters were dropped; parameters as for `drop`."""
    return [one async for one in order(system, "restore", list(ids), note=note, wait_s=wait_s)]


async def order(
    system: System,
    act: Act,
    ids: Sequence[str],
    *,
    note: str = "",
    data: object = None,
    approve: bool = False,
    rate: float = 0.0,
    wait_s: float = 5.0,
) -> AsyncIterator[Carried]:
    """Order something about dead letters, and say of each what became of it.

    Args:
        system: The system.
        act: What to do.
        ids: Ids of dead letters.
        note: Why, in words; it is kept in the audit. The reason that the operator gave if left out.
        data: Of a retry of a single one: the payload to deliver instead.
        approve: Of a retry: deliver also what a rule holds until somebody approves it.
        rate: At most so many a second; 0 for no bound.
        wait_s: Seconds to wait for what becomes of each.

    Raises:
        InvalidPayload: `data` is no payload.
        UsageError: `data` is given for several.
    """
    names = list(dict.fromkeys(ids))
    if data is not None and (act != "retry" or len(names) != 1):
        raise UsageError("only one dead letter at a time can be edited, when it is retried")
    text = None if data is None else payload_bytes(data)
    at_once = AT_ONCE if not rate else max(1, min(AT_ONCE, int(rate)))
    wait_s = wait_s if await system.gateways() else 0.0
    begun = time.monotonic()
    for first in range(0, len(names), at_once):
        if rate:
            await asyncio.sleep(max(0.0, begun + first / rate - time.monotonic()))
        wanted = LetterOrder("", act, system.actor, 0, note, text, approve)
        for carried in await _order(system, wanted, names[first : first + at_once], wait_s):
            yield carried


async def look_up(system: System, act: Act, name: str) -> tuple[DeadLetter | None, MasError | None]:
    """The dead letter that an order would be about, and why it would not be carried out.

    What the checks would say is not asked. One that cannot be read can be dropped all the same.
    """
    try:
        letter = await get(system, name)
    except IntegrityError as error:
        return None, None if act == "drop" else error
    except MasError as error:
        return None, error
    is_dropped = letter.ends_in is not None
    if is_dropped is not (act == "restore"):
        return letter, _refusal(name, "dropped" if is_dropped else "kept")
    return letter, None


async def _order(system: System, wanted: LetterOrder, names: Sequence[str], wait_s: float) -> list[Carried]:
    act = wanted.act
    now = await system.store.connection.time_ms()
    results: dict[str, Carried] = {}
    orders: list[NewOrder] = []
    facts: dict[str, LetterFacts | None] = {}
    for name in names:
        try:
            partition, stored = await one(system, name)
        except MasError as error:
            results[name] = Carried(name, None, act, error=error)
            continue
        facts[name] = facts_of(system, partition, stored)
        orders.append(_new_order(system, wanted, partition, stored.entry, now))
    by_name = dict(zip(facts, orders, strict=True))
    words = await _place(system, wanted, by_name) if orders else []
    placed = {}
    for (name, new), word in zip(by_name.items(), words, strict=True):
        if word == "ok":
            placed[name] = new
        else:
            results[name] = Carried(name, facts[name], act, error=_refusal(name, word))
    outcomes = await _outcomes(system, list(placed.values()), wait_s)
    for name, outcome in zip(placed, outcomes, strict=True):
        results[name] = Carried(name, facts[name], act, outcome, _error_of(name, act, outcome))
    return [results[name] for name in names]


async def _place(system: System, wanted: LetterOrder, orders: Mapping[str, NewOrder]) -> list[str]:
    """Write orders, which is recorded before and after."""
    change: dict[str, object] = {"orders": len(orders)}
    if wanted.data is not None:
        change["edited"] = True
    if wanted.approves:
        change["approves"] = True
    with acting(f"dlq.{wanted.act}", *orders, reason=wanted.note):
        async with system.operator_log.writing("dead_letter", change=change) as noted:
            words = await system.store.dead_letters.order(list(orders.values()))
            noted.facts = {**change, "results": dict(Counter(words))}
    return words


def _new_order(system: System, wanted: LetterOrder, partition: int, entry: str, now: int) -> NewOrder:
    order_id = new_message_id()
    why = wanted.note or system.operator_log.operator.reason
    new = msgspec.structs.replace(wanted, id=order_id, at=now, note=why[:MAX_NOTE])
    purpose = due_purpose(partition, order_name(entry))
    sealed = AtRest(system.keys.at_rest_key).seal(purpose, msgspec.msgpack.encode(new))
    return NewOrder(order_id, partition, entry, wanted.act, sealed)


async def _outcomes(system: System, orders: Sequence[NewOrder], wait_s: float) -> list[OrderOutcome | None]:
    """What became of orders, as soon as that is known of all, or as far as it is known in time."""
    deadline = time.monotonic() + wait_s
    found: dict[str, OrderOutcome] = {}
    while True:
        open_orders = [new for new in orders if new.id not in found]
        if not open_orders:
            break
        texts = await system.store.dead_letters.outcomes(open_orders)
        for new, text in zip(open_orders, texts, strict=True):
            told = verified(system.keys, outcome_purpose(new.id), text or b"")
            if told is not None:
                found[new.id] = msgspec.json.decode(told, type=OrderOutcome)
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(_POLL_S)
    return [found.get(new.id) for new in orders]


def _refusal(name: str, word: str) -> MasError:
    match word:
        case "ordered":
            return AlreadyOrdered(
                f"something is ordered about dead letter {name} already",
                hint="mas dlq list",
                dead_letter=name,
            )
        case "dropped":
            return Conflict(
                f"dead letter {name} is dropped", hint=f"mas dlq restore {name}", dead_letter=name
            )
        case "kept":
            return Conflict(
                f"dead letter {name} is not dropped", hint="mas dlq list --dropped", dead_letter=name
            )
        case _:
            return not_found(name)


def _error_of(name: str, act: Act, outcome: OrderOutcome | None) -> MasError | None:
    if outcome is None:
        return GatewayDown(
            f"dead letter {name} is ordered to {act}, but no gateway has carried it out yet",
            hint=("mas gateway status", "mas gateway run"),
            dead_letter=name,
        )
    if outcome.is_done:
        return None
    if outcome.decision == "not_found" and outcome.reason.startswith("the dead letter"):
        return not_found(name)
    hint = f"mas dlq retry {name} --approve" if outcome.decision == "held" else f"mas dlq get {name}"
    return Refused(
        f"dead letter {name} stays: {outcome.reason}",
        hint=hint,
        dead_letter=name,
        decision=outcome.decision,
    )
