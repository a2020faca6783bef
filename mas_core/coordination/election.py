"""Leaders of groups: one instance at a time leads a group, for a term that ends unless it is renewed.

A term is a lease on the server's clock. Terms of a group only grow, so a term is a fencing token as well: whoever
checks that no lower one comes after a higher one refuses the writes of a leader that was paused past its lease
(M. Kleppmann, How to do distributed locking, 2016). As safe as the store: where a fail-over of the server may lose
what was answered, so may an election; the `ha` profile waits for replicas before it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from mas_core.coordination.agenda import Agenda
from mas_core.coordination.machine import Command, Event, Refusal, Step

KIND = "leader"
MIN_LEASE_MS = 1_000
MAX_LEASE_MS = 300_000
DEFAULT_LEASE_MS = 15_000
MAX_WAIT_MS = 60_000
CONFIRM_MS = 2_000
"""Whoever is elected while it waited has so long to renew: it may have died in the queue."""
NOT_LEADER = "not_leader"
"""Code of the refusal of what only the leader can ask for."""
MAX_GROUPS = 10_000
MAX_WAITING = 1_000
"""Candidates and watchers of a group that can wait at a time."""

LeaseMs = Annotated[int, msgspec.Meta(ge=MIN_LEASE_MS, le=MAX_LEASE_MS)]
WaitMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_MS)]


class Group(msgspec.Struct):
    """One group: the record that is stored."""

    name: str
    term: int = 0
    leader: str = ""
    """Agent; empty while nobody leads."""
    instance: str = ""
    lease_ms: int = DEFAULT_LEASE_MS
    expires: int = 0
    """Unix milliseconds by the server's clock."""
    since: int = 0

    def is_led_by(self, command: Command) -> bool:
        """Whether the instance that sends this command leads it now."""
        return (
            self.leader == command.sender and self.instance == command.instance and command.now < self.expires
        )


class Campaign(msgspec.Struct, forbid_unknown_fields=True):
    """I want to lead, for so long, and wait for it so long."""

    lease_ms: LeaseMs = DEFAULT_LEASE_MS
    wait_ms: WaitMs = 0


class Term(msgspec.Struct, forbid_unknown_fields=True):
    """The term that somebody leads in."""

    term: int


class Watch(msgspec.Struct, forbid_unknown_fields=True):
    """Tell me when it is no longer this leader in this term."""

    term: int = 0
    leader: str = ""
    wait_ms: WaitMs = 0


class _Waiting(msgspec.Struct):
    command: Command
    until: int
    lease_ms: int = 0
    """Of a candidate: how long it wants to lead."""


class Election:
    """Every group of one partition.

    Args:
        fence: Makes what proves that an agent leads a group in a term, for those who check it elsewhere.
    """

    kind = KIND

    def __init__(self, fence: Callable[[str, int, str], str]) -> None:
        self._fence = fence
        self._groups: dict[str, Group] = {}
        self._candidates: dict[str, list[_Waiting]] = {}
        self._watchers: dict[str, list[_Waiting]] = {}
        self._agenda = Agenda()
        """Names of groups, each with the next moment at which something of it may run out."""

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from these records."""
        self._groups = {name: read_group(record) for name, record in records.items()}
        self._candidates.clear()
        self._watchers.clear()
        self._agenda = Agenda()
        for group in self._groups.values():
            self._remind(group)

    def command(self, command: Command) -> Step:
        """Carry out a command.

        Raises:
            Refusal: `not_leader`, `invalid`, `too_many`.
        """
        match command.verb:
            case "campaign":
                return self._campaign(command)
            case "renew":
                return self._renew(command)
            case "resign":
                return self._resign(command)
            case "depose":
                return self._depose(command)
            case "get":
                step = Step()
                step.answer(command, self._told(self._group(command), command.now))
                return step
            case "watch":
                return self._watch(command)
        raise Refusal("invalid", f"a group of leaders knows no {KIND}.{command.verb}")

    def waiting(self) -> list[Command]:
        """Candidates and watchers."""
        places = (*self._candidates.values(), *self._watchers.values())
        return [waiting.command for queue in places for waiting in queue]

    def send_away(self, command: Command) -> Step:
        """A candidate is not elected; a watcher is told who leads."""
        step = Step()
        told = self._told(self._group(command), command.now)
        step.answer(command, {**told, "elected": False} if command.verb == "campaign" else told)
        return step

    def next_due(self) -> int:
        """When the next lease or the next waiting ends, or was to end before it was prolonged."""
        return self._agenda.next_due()

    def tick(self, now: int) -> Step:
        """End leases that have run out, elect who waits, and send those away who waited long enough."""
        step = Step()
        for name in self._agenda.take_due(now):
            self._look_at(step, name, now)
        return step

    def _look_at(self, step: Step, name: str, now: int) -> None:
        """Something of a group may have run out."""
        group = self._groups.get(name) or Group(name)
        for waiting in self._waited_long_enough(self._candidates, name, now):
            step.answer(waiting.command, {**self._told(group, now), "elected": False})
        if group.leader and group.expires <= now:
            self._vacate(step, group, now, "leader.expired", f"{group.leader} did not renew its term")
        for waiting in self._waited_long_enough(self._watchers, name, now):
            step.answer(waiting.command, self._told(group, now))
        self._remind(group)

    def _remind(self, group: Group) -> None:
        """Look at a group again when the first of its moments comes."""
        moments = [
            waiting.until
            for queues in (self._candidates, self._watchers)
            for waiting in queues.get(group.name, ())
        ]
        if group.leader:
            moments.append(group.expires)
        if moments:
            self._agenda.remind(min(moments), group.name)

    def _waited_long_enough(self, queues: dict[str, list[_Waiting]], name: str, now: int) -> list[_Waiting]:
        """Those who did; they wait no more."""
        over = [waiting for waiting in queues.get(name, ()) if waiting.until <= now]
        for waiting in over:
            self._leave(queues, name, waiting)
        return over

    def _group(self, command: Command) -> Group:
        return self._groups.get(command.resource) or Group(command.resource)

    def _campaign(self, command: Command) -> Step:
        wanted, step = command.read(Campaign), Step()
        group = self._group(command)
        self._withdraw(command)
        if group.is_led_by(command):
            self._extend(step, group, command.now, wanted.lease_ms)
            step.answer(command, self._told_leader(group, command.now))
            step.outcome = "renewed"
            return step
        if group.name not in self._groups and len(self._groups) >= MAX_GROUPS:
            raise Refusal("too_many", f"there are {MAX_GROUPS} groups already")
        if group.leader and command.now < group.expires:
            return self._queue(step, group, command, wanted)
        if group.leader:
            self._vacate(step, group, command.now, "leader.expired", f"{group.leader} did not renew its term")
        if group.leader:
            # Who waited longer was elected just now.
            return self._queue(step, group, command, wanted)
        self._elect(step, group, command, wanted.lease_ms, command.now, wanted.lease_ms)
        step.outcome = "elected"
        return step

    def _queue(self, step: Step, group: Group, command: Command, wanted: Campaign) -> Step:
        waiting = _Waiting(command, command.now + wanted.wait_ms, wanted.lease_ms)
        can_wait = wanted.wait_ms and command.wants_answer
        if can_wait and self._wait(self._candidates, group.name, waiting):
            step.outcome = "candidate"
        else:
            step.answer(command, {**self._told(group, command.now), "elected": False})
            step.outcome = "not_elected"
        return step

    def _renew(self, command: Command) -> Step:
        step, group = Step(), self._led(command)
        self._extend(step, group, command.now, group.lease_ms)
        step.answer(command, self._told(group, command.now))
        step.outcome = "renewed"
        return step

    def _resign(self, command: Command) -> Step:
        step, group = Step(), self._led(command)
        self._vacate(step, group, command.now, "leader.resigned", f"{group.leader} has resigned")
        step.answer(command, self._told(group, command.now))
        step.outcome = "resigned"
        return step

    def _depose(self, command: Command) -> Step:
        step, group = Step(), self._group(command)
        if not group.leader or group.expires <= command.now:
            raise Refusal("no_leader", f"nobody leads {command.resource}")
        told = f"{command.sender} has made {group.leader} step down"
        self._vacate(step, group, command.now, "leader.deposed", told)
        step.answer(command, self._told(group, command.now))
        step.outcome = "deposed"
        return step

    def _watch(self, command: Command) -> Step:
        wanted, step, group = command.read(Watch), Step(), self._group(command)
        is_news = (group.term, self._told(group, command.now)["leader"]) != (wanted.term, wanted.leader)
        waiting = _Waiting(command, command.now + wanted.wait_ms)
        if is_news or not wanted.wait_ms or not self._wait(self._watchers, group.name, waiting):
            step.answer(command, self._told(group, command.now))
        return step

    def _led(self, command: Command) -> Group:
        """The group that the sender leads in the term that it names."""
        group, term = self._group(command), command.read(Term).term
        if not group.is_led_by(command) or group.term != term:
            raise Refusal(NOT_LEADER, f"{command.sender} does not lead {command.resource} in term {term}")
        return group

    def _elect(
        self, step: Step, group: Group, command: Command, lease_ms: int, now: int, first_ms: int
    ) -> None:
        group.term += 1
        group.leader, group.instance = command.sender, command.instance
        group.lease_ms, group.since, group.expires = lease_ms, now, now + first_ms
        self._store(step, group)
        step.answer(command, self._told_leader(group, now))
        step.events.append(
            Event(
                "leader.elected",
                group.name,
                f"{group.leader} leads {group.name} in term {group.term}",
                {"term": group.term, "instance": group.instance, "expires": group.expires},
                group.leader,
            )
        )
        self._tell_watchers(step, group, now)

    def _vacate(self, step: Step, group: Group, now: int, kind: str, reason: str) -> None:
        """End a term; who has waited longest leads next."""
        before, group.leader, group.instance = group.leader, "", ""
        group.expires = min(group.expires, now)
        self._store(step, group)
        step.events.append(Event(kind, group.name, reason, {"term": group.term}, before))
        queue = self._candidates.get(group.name, [])
        if queue:
            following = queue[0]
            self._leave(self._candidates, group.name, following)
            first_ms = min(CONFIRM_MS, following.lease_ms)
            self._elect(step, group, following.command, following.lease_ms, now, first_ms)
        else:
            self._tell_watchers(step, group, now)

    def _extend(self, step: Step, group: Group, now: int, lease_ms: int) -> None:
        group.lease_ms, group.expires = lease_ms, now + lease_ms
        self._store(step, group)

    def _store(self, step: Step, group: Group) -> None:
        self._groups[group.name] = group
        step.records[group.name] = msgspec.json.encode(group)
        if group.leader:
            self._agenda.remind(group.expires, group.name)

    def _tell_watchers(self, step: Step, group: Group, now: int) -> None:
        for waiting in self._watchers.pop(group.name, []):
            step.answer(waiting.command, self._told(group, now))

    def _withdraw(self, command: Command) -> None:
        """An instance that campaigns again waits in one place only."""
        for waiting in self._candidates.get(command.resource, [])[:]:
            if waiting.command.is_from_same_as(command):
                self._leave(self._candidates, command.resource, waiting)

    def _wait(self, queues: dict[str, list[_Waiting]], name: str, waiting: _Waiting) -> bool:
        """Whether there was a place to wait in."""
        queue = queues.setdefault(name, [])
        if len(queue) >= MAX_WAITING:
            return False
        queue.append(waiting)
        self._agenda.remind(waiting.until, name)
        return True

    @staticmethod
    def _leave(queues: dict[str, list[_Waiting]], name: str, waiting: _Waiting) -> None:
        queues[name].remove(waiting)
        if not queues[name]:
            del queues[name]

    def _told_leader(self, group: Group, now: int) -> dict[str, object]:
        fence = self._fence(group.name, group.term, group.leader)
        return {**self._told(group, now), "elected": True, "fence": fence}

    @staticmethod
    def _told(group: Group, now: int) -> dict[str, object]:
        is_led = bool(group.leader) and now < group.expires
        return {
            "group": group.name,
            "leader": group.leader if is_led else "",
            "instance": group.instance if is_led else "",
            "term": group.term,
            "lease_ms": group.lease_ms,
            "expires_in_ms": group.expires - now if is_led else 0,
            "since": group.since if is_led else 0,
        }


def read_group(record: bytes) -> Group:
    """A stored record.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return msgspec.json.decode(record, type=Group)
