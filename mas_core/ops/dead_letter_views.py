"""Dead letters as operators see them: which there are, what became of each attempt, and their payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import msgspec

from mas_core.base.ids import MESSAGE_ID
from mas_core.errors import (
    DeadLetterNotFound,
    DecryptionFailed,
    IntegrityError,
    SecretUnavailable,
    UsageError,
)
from mas_core.model.dead_letter import (
    LetterFacts,
    facts_purpose,
    letter_id,
    read_letter_id,
    seal_purpose,
)
from mas_core.model.message import Delivery, Payload
from mas_core.ops.system import System
from mas_core.registry.signed import verified
from mas_core.security.seals import AtRest
from mas_core.store.stored import StoredLetter

LAST_ERRORS = 5
ERRORS_WITHIN_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up."""

    id: str
    """PARTITION:PLACE."""
    facts: LetterFacts
    age: float
    """Seconds since it was given up."""
    ends_in: float | None = None
    """Of a dropped one: seconds until it cannot be restored any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters; everything that is left out fits."""

    agent: str = ""
    """The agent that could not handle it."""
    sender: str = ""
    type: str = ""
    """Glob."""
    reason: str = ""
    """Glob for the code, or a part of the reason."""
    since: int | None = None
    """Given up at this time or later: Unix milliseconds."""
    before: int | None = None
    """Given up before this time: Unix milliseconds."""
    dropped: bool = False
    """Those that were dropped and can be restored, instead of those that were not."""

    def fits(self, letter: DeadLetter) -> bool:
        """Whether this is one of them."""
        facts = letter.facts
        return (
            (letter.ends_in is not None) is self.dropped
            and self.agent in ("", facts.target)
            and self.sender in ("", facts.sender)
            and (not self.type or fnmatchcase(facts.type, self.type))
            and (not self.reason or fnmatchcase(facts.code, self.reason) or self.reason in facts.reason)
            and (self.since is None or facts.dead_at >= self.since)
            and (self.before is None or facts.dead_at < self.before)
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """The dead letters that were asked for, the newest first."""

    letters: list[DeadLetter]
    total: int
    """How many there are; more than `letters` when fewer were asked for."""
    unreadable: list[str]
    """Ids of what lies among them and was not written by a gateway of this system, or is a copy."""


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters that are alike."""

    code: str
    type: str
    agent: str
    count: int
    newest: int
    """Unix milliseconds."""
    oldest: int


async def list_letters(system: System, wanted: Wanted | None = None, *, newest: int = 0) -> Listing:
    """The dead letters of all partitions.

    Args:
        system: The system.
        wanted: Which.
        newest: Return only so many; 0 for all.

    Raises:
        SecretUnavailable: The gateway's keys are not at hand, so nobody could tell which are genuine.
    """
    wanted = wanted or Wanted()
    genuine: dict[tuple[int, int], DeadLetter] = {}
    unreadable: list[str] = []
    now = await system.store.connection.time_ms()
    async for partition, stored in _stored(system, wanted.since):
        facts = facts_of(system, partition, stored)
        if facts is None:
            unreadable.append(letter_id(partition, stored.entry))
            continue
        # They come newest first, and a gateway writes each once: of several the first that was there counts.
        if (copy := genuine.get((partition, facts.seq))) is not None:
            unreadable.append(copy.id)
        genuine[partition, facts.seq] = _letter(partition, stored, facts, now)
    found = [letter for letter in genuine.values() if wanted.fits(letter)]
    found.sort(key=lambda letter: (letter.facts.dead_at, letter.facts.seq), reverse=True)
    return Listing(found[:newest] if newest else found, len(found), unreadable)


async def last_errors(system: System, agent_id: str) -> list[DeadLetter] | None:
    """The newest messages of the last day that an agent could not handle; None where the keys are missing."""
    since = await system.store.connection.time_ms() - ERRORS_WITHIN_MS
    try:
        found = await list_letters(system, Wanted(agent=agent_id, since=since), newest=LAST_ERRORS)
    except SecretUnavailable:
        return None
    return found.letters


async def stats(system: System, wanted: Wanted | None = None) -> list[Group]:
    """How many dead letters there are by code, type and agent, the largest group first."""
    letters = (await list_letters(system, wanted)).letters
    counts: Counter[tuple[str, str, str]] = Counter()
    newest: dict[tuple[str, str, str], int] = {}
    oldest: dict[tuple[str, str, str], int] = {}
    for letter in letters:
        alike = (letter.facts.code, letter.facts.type, letter.facts.target)
        counts[alike] += 1
        newest.setdefault(alike, letter.facts.dead_at)
        oldest[alike] = letter.facts.dead_at
    return [Group(*alike, count, newest[alike], oldest[alike]) for alike, count in counts.most_common()]


async def find(system: System, name: str) -> list[str]:
    """Ids of the dead letters that are called so: the id of one, or that of a message.

    Raises:
        DeadLetterNotFound: There is no dead letter of this message.
        UsageError: This can be neither.
    """
    if read_letter_id(name) is not None:
        return [name]
    if not MESSAGE_ID.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the id of a dead letter", hint="mas dlq list")
    places = await system.store.dead_letters.places_of(name)
    if not places:
        raise not_found(name)
    return [letter_id(partition, entry) for partition, entry in places]


async def get(system: System, name: str) -> DeadLetter:
    """One dead letter, by its id or that of its message; of several of one message the newest.

    Raises:
        DeadLetterNotFound: There is none.
        IntegrityError: It was not written by a gateway of this system.
        UsageError: This cannot be an id.
    """
    partition, stored = await one(system, name)
    facts = facts_of(system, partition, stored)
    if facts is None:
        raise _unreadable(letter_id(partition, stored.entry))
    return _letter(partition, stored, facts, await system.store.connection.time_ms())


async def payload(system: System, name: str) -> Payload:
    """The payload as it was delivered: what the policy takes out is not in it.

    Raises:
        DeadLetterNotFound: There is no such dead letter.
        SecretUnavailable: The gateway's key is not on this machine.
        IntegrityError: It was not written by a gateway of this system.
    """
    partition, stored = await one(system, name)
    facts = facts_of(system, partition, stored)
    if facts is None:
        raise _unreadable(letter_id(partition, stored.entry))
    try:
        text = AtRest(system.keys.at_rest_key).open(seal_purpose(partition, facts.seq), stored.body)
        delivery = msgspec.msgpack.decode(text, type=Delivery)
        value: Payload = msgspec.json.decode(delivery.data, type=dict[str, object])
    except (DecryptionFailed, msgspec.DecodeError) as error:
        raise _unreadable(letter_id(partition, stored.entry)) from error
    return value


async def _stored(system: System, since: int | None) -> AsyncIterator[tuple[int, StoredLetter]]:
    oldest = "-" if since is None else f"{max(0, since)}-0"
    for partition in range(system.store.width):
        async for page in system.store.dead_letters.pages(partition, oldest=oldest):
            for stored in page:
                yield partition, stored


async def one(system: System, name: str) -> tuple[int, StoredLetter]:
    """Partition and what is stored of the dead letter that is called so.

    Raises:
        DeadLetterNotFound: There is none.
        UsageError: This cannot be an id.
    """
    for found in await find(system, name):
        place = read_letter_id(found)
        if place is not None and place[0] < system.store.width:
            stored = await system.store.dead_letters.get(*place)
            if stored is not None:
                return place[0], stored
    raise not_found(name)


def facts_of(system: System, partition: int, stored: StoredLetter) -> LetterFacts | None:
    """What a gateway wrote; anything else counts for nothing."""
    data = verified(system.keys, facts_purpose(partition), stored.facts)
    return msgspec.json.decode(data, type=LetterFacts) if data is not None else None


def _letter(partition: int, stored: StoredLetter, facts: LetterFacts, now: int) -> DeadLetter:
    ends_in = max(0, stored.dropped_until - now) / 1000 if stored.dropped_until else None
    return DeadLetter(letter_id(partition, stored.entry), facts, max(0, now - facts.dead_at) / 1000, ends_in)


def not_found(name: str) -> DeadLetterNotFound:
    """The error of a name that no dead letter has."""
    return DeadLetterNotFound(
        f"there is no dead letter {name}: it was retried, dropped for good, or never was",
        hint=("mas dlq list", "mas audit list --kind dlq.retried"),
        dead_letter=name,
    )


def _unreadable(found: str) -> IntegrityError:
    return IntegrityError(
        f"dead letter {found} cannot be read: no gateway of this system wrote it, or it was changed",
        hint=f"mas dlq drop {found}",
        dead_letter=found,
    )
