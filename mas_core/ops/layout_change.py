"""Carries a change of the number of partitions out, step by step; each step can be done again after a crash.

Nobody owns a partition meanwhile. Agents go with all that is theirs; audit, ingress and what is known of sending
sessions stay where they are, since records are never moved and senders ask there what became of their frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from mas_core.base.failpoints import failpoint
from mas_core.base.resources import KINDS
from mas_core.errors import Conflict, DecryptionFailed
from mas_core.model.approval import HeldFacts, item_in
from mas_core.model.approval import mac_purpose as approval_purpose
from mas_core.model.breaker import order_field, pair_of, seen_field
from mas_core.model.dead_letter import (
    END_PREFIX,
    LetterFacts,
    due_purpose,
    facts_purpose,
    seal_purpose,
)
from mas_core.model.topic import is_topic
from mas_core.registry.signed import signed, verified
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.connection import Connection
from mas_core.store.keys import Keys, Layout
from mas_core.store.moves import Found, Moves, agents_in, belongs, next_entry

MAX_PASSES = 5
"""What was still being written when the first pass began is found by the next."""

Letter = tuple[str, dict[bytes, bytes], int]


class LayoutChange:
    """One change, from the layout that was in force to the next.

    Args:
        connection: The server.
        keys: What dead letters and facts of messages are authenticated and sealed with.
        namespace: Prefix of all keys.
        before: The layout in force.
        after: What it is to be.
        on_step: Told in words what was done.
    """

    def __init__(
        self,
        connection: Connection,
        keys: GatewayKeys,
        namespace: str,
        before: Layout,
        after: Layout,
        on_step: Callable[[str], None] = lambda _text: None,
    ) -> None:
        names = Keys(namespace, before.partitions)
        names.follow(Layout(before.number, before.partitions, after.width))
        self._names = names
        self._keys = keys
        self._at_rest = AtRest(keys.at_rest_key)
        self.moves = Moves(connection, names)
        self._before, self._after = before, after
        self._mark = str(after.number)
        self._on_step = on_step

    async def carry_out(self) -> int:
        """Move everything that belongs elsewhere, from closed partitions; how many agents moved."""
        await self.check_approvals()
        await self.moves.note_moving()
        moved: set[str] = set()
        for _ in range(MAX_PASSES):
            found = await self._move_agents()
            moved |= found
            if not found:
                break
        self._on_step(f"{len(moved)} agents moved")
        await self._move_due()
        failpoint("partitions.due_moved")
        await self._move_letters()
        failpoint("partitions.letters_moved")
        await self._move_fields()
        await self._move_resources()
        await self.moves.note_end(self._names.layout)
        return len(moved)

    async def check_approvals(self) -> None:
        """Make sure that no message waits for a person whose target moves: its approval is called by its place.

        Raises:
            Conflict: Some do.
        """
        if await self.moves.is_moving():
            return
        count = 0
        for partition in range(self._before.width):
            for name, text in (await self.moves.fields(self._names.held(partition))).items():
                data = verified(self._keys, approval_purpose(name), text) if item_in(name) else None
                if data is not None:
                    facts = msgspec.json.decode(data, type=HeldFacts)
                    count += belongs(facts.target, self._after) != partition
        if count:
            raise Conflict(
                f"{count} messages wait for approval by agents that would move", hint="mas approval list"
            )

    async def _move_agents(self) -> set[str]:
        moved = set()
        for partition in range(self._after.width):
            names = await self.moves.names(partition)
            names = await self.moves.drop_old_marks(partition, names, self._mark)
            agents, subjects = agents_in(names)
            for agent_id in await self.moves.registered(partition):
                agents.setdefault(agent_id, Found())
            for is_agent, group in ((True, agents), (False, subjects)):
                for subject, found in group.items():
                    target = belongs(subject, self._after)
                    if target == partition:
                        continue
                    await self.moves.move_agent(
                        subject, found, partition, target, self._mark, is_agent=is_agent
                    )
                    failpoint("partitions.agent_moved")
                    if is_agent:
                        moved.add(subject)
            seen = [name for name in names if name.startswith("seen:")]
            others = [number for number in range(self._after.partitions) if number != partition]
            await self.moves.share_seen(seen, partition, others)
        return moved

    async def _move_due(self) -> None:
        """Messages that are delivered again later, and what else names its agent."""
        for partition in range(self._before.width):
            going: dict[int, dict[str, str]] = {}
            for name, due in (await self.moves.later(partition)).items():
                agent_id = agent_of(name)
                target = belongs(agent_id, self._after) if agent_id else partition
                if target != partition:
                    going.setdefault(target, {})[name] = due
            for target, dues in going.items():
                await self.moves.move_later(partition, target, dues, {})
                self._on_step(f"{len(dues)} messages for later moved from {partition} to {target}")

    async def _move_letters(self) -> None:
        going: dict[int, list[tuple[int, Letter, LetterFacts]]] = {}
        present: dict[int, list[Letter]] = {}
        for partition in range(self._before.width):
            present[partition] = await self.moves.letters(partition)
            for letter in present[partition]:
                facts = self._facts(partition, letter)
                if facts is not None and (target := belongs(facts.target, self._after)) != partition:
                    going.setdefault(target, []).append((partition, letter, facts))
        for target, letters in going.items():
            await self._bring_letters(target, present.get(target, []), letters)

    async def _bring_letters(
        self, target: int, present: list[Letter], letters: list[tuple[int, Letter, LetterFacts]]
    ) -> None:
        taken = {entry: (entry, fields, until) for entry, fields, until in present}
        known = {
            _identity(facts): letter[0]
            for letter in present
            if (facts := self._facts(target, letter)) is not None
        }
        places: list[tuple[int, str, str]] = []
        for source, (entry, fields, until), facts in letters:
            place = known.get(_identity(facts))
            if place is None:
                try:
                    body = self._at_rest.open(seal_purpose(source, facts.seq), fields.get(b"body", b""))
                except DecryptionFailed:
                    continue
                place = next_entry(entry, set(taken))
                moved = {
                    b"message_id": facts.message_id.encode(),
                    b"facts": signed(self._keys, facts_purpose(target), msgspec.json.encode(facts)),
                    b"body": self._at_rest.seal(seal_purpose(target, facts.seq), body),
                }
                taken[place] = (place, moved, until)
                known[_identity(facts)] = place
            places.append((source, entry, place))
        await self.moves.replace_letters(target, sorted(taken.values(), key=_place))
        failpoint("partitions.letters_written")
        for source in sorted({source for source, _, _ in places}):
            here = [(entry, place) for place_source, entry, place in places if place_source == source]
            await self._move_ends(source, target, dict(here))
            await self.moves.remove_letters(source, [entry for entry, _ in here])
        self._on_step(f"{len(places)} dead letters moved to {target}")

    async def _move_ends(self, source: int, target: int, places: Mapping[str, str]) -> None:
        """When dropped dead letters end for good is sealed for the place of each."""
        dues = await self.moves.later(source)
        going: dict[str, str] = {}
        renamed: dict[str, tuple[str, bytes]] = {}
        for entry, place in places.items():
            name, new_name = f"{END_PREFIX}{entry}", f"{END_PREFIX}{place}"
            if name not in dues:
                continue
            try:
                end = self._at_rest.open(due_purpose(source, name), await self.moves.body(source, name))
            except DecryptionFailed:
                continue
            going[name] = dues[name]
            renamed[name] = (new_name, self._at_rest.seal(due_purpose(target, new_name), end))
        await self.moves.move_later(source, target, going, renamed)

    async def _move_fields(self) -> None:
        """Circuits, and facts of messages that are sent for later."""
        await self._move_hash(self._names.breakers, circuit_target)
        await self._move_hash(self._names.scheduled, scheduled_target)

    async def _move_resources(self) -> None:
        """Resources, what is left of those that are over, and fences."""
        for kind in KINDS:
            await self._move_hash(partial(self._names.resources, kind=kind), partial(_resource_in, kind))
        await self._move_hash(self._names.fences, lambda name: name.rpartition("/")[0])
        await self._share_places()
        await self._move_hash(self._names.topics, topic_in)
        await self._move_hash(self._names.topic_sizes, "topic:{}".format)
        for partition in range(self._before.width):
            for name in await self.moves.names(partition):
                resource = resource_of(name)
                target = belongs(resource, self._after) if resource else partition
                # Whoever knew another layout may have made an empty log where none belongs.
                is_its_place = belongs(resource, self._before) == partition
                if target != partition and is_its_place:
                    await self.moves.move_key(name, partition, target)

    async def _share_places(self) -> None:
        """That an agent keeps a place in logs is known in every partition, as any may have a log that matches."""
        for partition in range(self._before.partitions):
            fields = await self.moves.fields(self._names.topics(partition))
            places = {name: text for name, text in fields.items() if name.startswith("durable:")}
            for target in range(self._after.partitions):
                if places and target != partition:
                    await self.moves.share_fields(self._names.topics(target), places)

    async def _move_hash(self, key_of: Callable[[int], str], subject_in: Callable[[str], str]) -> None:
        """Move those fields of a hash of each partition that belong elsewhere."""
        for partition in range(self._before.width):
            going: dict[int, list[str]] = {}
            for name in await self.moves.fields(key_of(partition)):
                subject = subject_in(name)
                target = belongs(subject, self._after) if subject else partition
                if target != partition:
                    going.setdefault(target, []).append(name)
            for target, fields in going.items():
                await self.moves.move_fields(key_of(partition), key_of(target), fields)

    def _facts(self, partition: int, letter: Letter) -> LetterFacts | None:
        """The facts of a dead letter, if they are this system's own."""
        data = verified(self._keys, facts_purpose(partition), letter[1].get(b"facts", b""))
        return None if data is None else msgspec.json.decode(data, type=LetterFacts)


def agent_of(name: str) -> str:
    """The agent that something due later is about; empty where its place says it."""
    kind, slash, rest = name.partition("/")
    if not slash:
        return name.partition(":")[0]
    return rest.partition("/")[0] if kind == "schedule" else ""


def scheduled_target(field: str) -> str:
    """The agent that a field of the scheduled messages is about."""
    return field.partition(":")[2].partition("/")[0]


def circuit_target(field: str) -> str:
    """The agent that a field of the circuits is about."""
    pair = pair_of(field)
    if pair is not None:
        return pair[1]
    for prefix in (order_field(""), seen_field("")):
        if field.startswith(prefix):
            return field.removeprefix(prefix)
    return field


def _resource_in(kind: str, field: str) -> str:
    """The resource that a record of this kind is about."""
    return f"{kind}:{field.partition('/')[0]}"


def resource_of(name: str) -> str:
    """The resource that a key, given without the prefix of its partition, is about; empty where it is of none."""
    if name.startswith("finished:"):
        kind, _, rest = name.removeprefix("finished:").partition(":")
        return _resource_in(kind, rest)
    return name if is_topic(name) else ""


def topic_in(field: str) -> str:
    """The topic that a field of what is known of topics is about; empty where it is about none."""
    kind, _, name = field.partition(":")
    return f"topic:{name}" if kind in ("topic", "status") else ""


def _identity(facts: LetterFacts) -> tuple[int, str, int]:
    return facts.seq, facts.message_id, facts.dead_at


def _place(letter: Letter) -> tuple[int, int]:
    milliseconds, _, number = letter[0].partition("-")
    return int(milliseconds), int(number)
