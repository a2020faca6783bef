"""What the machine of votes remembers: open trails, what ended lately, who waits, and what falls due when.

It also gathers what a step changes, so that each changed trail is written once, however many ballots came together.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from mas_core.coordination.machine import Answer, Command, Event, Step
from mas_core.coordination.packing import packed
from mas_core.coordination.vote_waiters import Waiter, Waiters
from mas_core.model.vote import CastBallot, Proposal, Result, Round, Trail

KNOWN_FOR_MS: Final = 3_600_000
"""How long a finished vote stays known to the machine; its trail is kept elsewhere for longer."""
MAX_KNOWN: Final = 10_000
WRITTEN_TOGETHER: Final = 8
"""Ballots of a round that are written with its trail each time; later ones get records of their own."""
MAX_IN_EVENT: Final = 100
"""Votes that one event names."""
_OWN: Final = "/#"
"""Between a vote and the number of a ballot in the name of a record."""
_OPEN: Final = b"o"
_ENDED: Final = b"e"


class Ended(msgspec.Struct, frozen=True):
    """What is still known of a vote that is finished."""

    proposal: Proposal
    round: int
    result: Result
    voted: int
    """Ballots of the last round."""
    digest: str
    """Of the proposal."""
    until: int
    """Unix milliseconds until which it is known."""


Kept = Trail | Ended
"""What is stored of a vote under its name."""


def read_kept(records: Mapping[str, bytes]) -> dict[str, Kept]:
    """Id -> what is stored of a vote; the ballots of large ones lie in records of their own, `id/#number`."""
    kept: dict[str, Kept] = {}
    later: list[tuple[int, str, bytes]] = []
    for name, record in records.items():
        vote, mark, number = name.partition(_OWN)
        if mark:
            later.append((int(number), vote, record))
        elif record[:1] == _ENDED:
            kept[name] = msgspec.msgpack.decode(record[1:], type=Ended)
        else:
            kept[name] = msgspec.msgpack.decode(record[1:], type=Trail)
    for _, vote, record in sorted(later):
        trail = kept.get(vote)
        if isinstance(trail, Trail):
            trail.rounds[-1].ballots.append(msgspec.msgpack.decode(record, type=CastBallot))
    return kept


class VoteBook:
    """The memory of one partition's votes."""

    def __init__(self) -> None:
        self.open: dict[str, Trail] = {}
        self.ended: dict[str, Ended] = {}
        """In the order in which they ended."""
        self._digests: dict[str, str] = {}
        self._due: list[tuple[int, str]] = []
        self._waiters = Waiters()
        self._appended_before: Counter[str] = Counter()
        """Vote -> ballots of it that are stored in records of their own."""
        self._appended: dict[str, list[CastBallot]] = {}
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._finished: dict[str, bytes] = {}
        self._stirred: dict[str, None] = {}
        self._answers: list[Answer] = []
        self._events: list[Event] = []
        self._listed: dict[tuple[str, str], list[dict[str, object]]] = {}

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from what is stored."""
        for memory in (self.open, self.ended, self._digests):
            memory.clear()
        self._waiters.clear()
        self._due.clear()
        self._forget_changes()
        self._appended_before = Counter(name.partition(_OWN)[0] for name in records if _OWN in name)
        ended = []
        for name, kept in read_kept(records).items():
            if isinstance(kept, Ended):
                ended.append((name, kept))
            else:
                self.open[name] = kept
                self.schedule(kept)
        self.ended.update(sorted(ended, key=lambda item: item[1].until))

    # What is known

    def digest(self, trail: Trail) -> str:
        """Of its proposal."""
        name = trail.proposal.id
        known = self._digests.get(name)
        if known is None:
            known = self._digests[name] = trail.proposal.digest()
        return known

    def digest_of(self, name: str) -> str | None:
        """Of a proposal that is open or was lately."""
        trail = self.open.get(name)
        if trail is not None:
            return self.digest(trail)
        found = self.ended.get(name)
        return None if found is None else found.digest

    def waiting(self) -> list[Command]:
        """What is to be answered later."""
        return self._waiters.all()

    def next_due(self) -> int:
        """When a round ends or something is forgotten; 0 for never."""
        while self._due and not self._is_due_still(*self._due[0]):
            heapq.heappop(self._due)
        moments = [self._due[0][0] if self._due else 0, self._waiters.next_due()]
        if self.ended:
            moments.append(next(iter(self.ended.values())).until)
        return min((moment for moment in moments if moment), default=0)

    def take_due(self, now: int) -> Iterator[Trail]:
        """The votes whose round is over by now."""
        while self._due and self._due[0][0] <= now:
            moment, name = heapq.heappop(self._due)
            if self._is_due_still(moment, name):
                yield self.open[name]

    def _is_due_still(self, moment: int, name: str) -> bool:
        trail = self.open.get(name)
        return trail is not None and not trail.rounds[-1].closed and trail.rounds[-1].deadline == moment

    # What changes

    def add(self, trail: Trail) -> None:
        """A vote begins."""
        self.open[trail.proposal.id] = trail
        self.schedule(trail)
        self.changed(trail)

    def schedule(self, trail: Trail) -> None:
        """Its last round ends at its deadline."""
        if not trail.rounds[-1].closed:
            heapq.heappush(self._due, (trail.rounds[-1].deadline, trail.proposal.id))

    def changed(self, trail: Trail) -> None:
        """It has to be written."""
        self._changed[trail.proposal.id] = None

    def add_ballot(self, trail: Trail, ballot: CastBallot) -> None:
        """A ballot was taken; where there are many already, it is written alone."""
        ballots = trail.rounds[-1].ballots
        ballots.append(ballot)
        if len(ballots) <= WRITTEN_TOGETHER:
            self.changed(trail)
        else:
            self._appended.setdefault(trail.proposal.id, []).append(ballot)

    def stir(self, trail: Trail) -> None:
        """Whoever waits for it may want to know."""
        self._stirred[trail.proposal.id] = None

    def finish(self, trail: Trail, result: Result) -> None:
        """A vote has its result."""
        trail.result = result
        name = trail.proposal.id
        self._finished[name] = msgspec.msgpack.encode(trail)
        del self.open[name]
        self.ended[name] = Ended(
            trail.proposal,
            len(trail.rounds),
            result,
            len(trail.rounds[-1].ballots),
            self.digest(trail),
            result.at + KNOWN_FOR_MS,
        )
        self._digests.pop(name, None)
        self.changed(trail)
        self.stir(trail)
        while len(self.ended) > MAX_KNOWN:
            self._forget(next(iter(self.ended)))

    def forget_old(self, now: int) -> None:
        """Forget what ended long ago."""
        for name in [name for name, found in self.ended.items() if found.until <= now]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        del self.ended[name]
        self._changed.pop(name, None)
        self._removed[name] = None

    def event(self, kind: str, resource: str, reason: str, sender: str, **details: object) -> None:
        """Something for the audit, alone."""
        self._events.append(Event(kind, resource, reason, details, sender))

    def list_event(self, kind: str, resource: str, **details: object) -> None:
        """Something for the audit; what is of one kind and resource goes there together."""
        self._listed.setdefault((kind, resource), []).append(details)

    # Who waits

    def answer(self, command: Command, data: dict[str, object], error: str = "") -> None:
        """Tell the sender of a command."""
        if command.wants_answer:
            self._answers.append(Answer(command.sender, command.instance, command.request, data, error))

    def wait(self, command: Command, rounds: dict[str, int], *, documents: bool, wait_ms: int) -> bool:
        """Answer later; False when too many wait already."""
        names = tuple(vote_id(command.resource, word) for word in rounds)
        return self._waiters.add(Waiter(command, names, rounds, documents, command.now + wait_ms))

    def end_waiting(self, now: int) -> None:
        """Tell those who have waited long enough how it stands."""
        for waiter in self._waiters.due(now):
            self._tell(waiter)

    def is_news(self, resource: str, rounds: Mapping[str, int]) -> bool:
        """Whether every one of these has a result, or one a round that the asker does not know."""
        is_open = False
        for word, known in rounds.items():
            if (trail := self.open.get(vote_id(resource, word))) is not None:
                if len(trail.rounds) > known > 0:
                    return True
                is_open = True
        return not is_open

    def views(self, names: Iterable[str], *, documents: bool) -> dict[str, object]:
        """What is told of proposals, and the proposals themselves where `documents` are wanted."""
        names = list(names)
        told: dict[str, object] = {"votes": packed([self._view(name) for name in names])}
        if documents:
            known = [self.open.get(name) or self.ended.get(name) for name in names]
            told["proposals"] = packed([document(item.proposal) for item in known if item is not None])
        return told

    def _view(self, name: str) -> dict[str, object]:
        trail = self.open.get(name)
        if trail is not None:
            return open_view(trail)
        found = self.ended.get(name)
        if found is None:
            return {"id": name, "state": "unknown"}
        return {
            "id": name,
            "state": found.result.outcome,
            "round": found.round,
            "result": msgspec.to_builtins(found.result),
        }

    # The step

    def step(self, outcome: str = "") -> Step:
        """Everything that changed since the last step."""
        self._wake()
        records: dict[str, bytes | None] = dict.fromkeys(self._removed)
        for name in self._changed:
            if (trail := self.open.get(name)) is not None:
                records[name] = _OPEN + msgspec.msgpack.encode(trail)
            elif (found := self.ended.get(name)) is not None:
                records[name] = _ENDED + msgspec.msgpack.encode(found)
            for number in range(self._appended_before.pop(name, 0)):
                records[f"{name}{_OWN}{number}"] = None
        for name, ballots in self._appended.items():
            if name not in self._changed:
                for ballot in ballots:
                    records[f"{name}{_OWN}{self._appended_before[name]}"] = msgspec.msgpack.encode(ballot)
                    self._appended_before[name] += 1
        for (kind, resource), votes in self._listed.items():
            reason = str(votes[0]["reason"]) if len(votes) == 1 else f"{len(votes)} proposals"
            self._events += [
                Event(kind, resource, reason, {"votes": votes[at : at + MAX_IN_EVENT]})
                for at in range(0, len(votes), MAX_IN_EVENT)
            ]
        made = Step(
            records=records,
            answers=self._answers,
            events=self._events,
            outcome=outcome,
            finished=self._finished,
        )
        self._forget_changes()
        return made

    def _wake(self) -> None:
        for waiter in self._waiters.of(self._stirred):
            if self.is_news(waiter.command.resource, waiter.rounds):
                self._tell(waiter)

    def _tell(self, waiter: Waiter) -> None:
        self._waiters.remove(waiter)
        self.answer(waiter.command, self.views(waiter.names, documents=waiter.documents))

    def _forget_changes(self) -> None:
        self._changed, self._removed, self._finished, self._stirred = {}, {}, {}, {}
        self._answers, self._events, self._listed, self._appended = [], [], {}, {}


def vote_id(resource: str, word: str) -> str:
    """The id of a proposal: that of its resource, and where several were opened together a word of its own."""
    return f"{resource}/{word}" if word else resource


def document(proposal: Proposal) -> dict[str, object]:
    """A proposal as it travels."""
    found: dict[str, object] = msgspec.to_builtins(proposal)
    return found


def open_view(trail: Trail) -> dict[str, object]:
    """What is told of a vote that is open."""
    turn = trail.rounds[-1]
    return {
        "id": trail.proposal.id,
        "state": trail.state,
        "round": turn.number,
        "deadline": turn.deadline,
        "options": list(turn.options),
        "electorate": electorate(trail, turn),
        "voted": [ballot.voter for ballot in turn.ballots],
        "excluded": sorted(trail.excluded),
    }


def is_in_electorate(trail: Trail, turn: Round, voter: str) -> bool:
    """Whether an agent may vote in a round."""
    if turn.is_delegated:
        return voter == trail.proposal.delegate
    return voter in trail.proposal.participants and voter not in trail.excluded


def electorate(trail: Trail, turn: Round) -> list[str]:
    """Who may vote in a round."""
    if turn.is_delegated:
        return [trail.proposal.delegate]
    excluded = trail.excluded
    return [voter for voter in trail.proposal.participants if voter not in excluded]
