"""A voting machine without a system around it: voters with keys, and a clock that a test turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mas_core.coordination.ballots import ballot_bytes, sign_sheet
from mas_core.coordination.machine import Answer, Command, Event, Step
from mas_core.coordination.packing import unpacked
from mas_core.coordination.vote_requests import signature_text
from mas_core.coordination.voting import VotingMachine
from mas_core.model.registration import AgentKey
from mas_core.model.vote import Proposal, Trail

NAMESPACE = "mas"
START = 1_000_000


class Voters:
    """Signing keys of agents, made when they are asked for."""

    def __init__(self) -> None:
        self.private: dict[str, Ed25519PrivateKey] = {}

    def signer(self, agent_id: str) -> Ed25519PrivateKey:
        """The private key of an agent."""
        return self.private.setdefault(agent_id, Ed25519PrivateKey.generate())

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """Its public half, as registered."""
        if key_id != f"key-{agent_id}":
            return None
        public = self.signer(agent_id).public_key().public_bytes_raw().hex()
        return AgentKey(key_id, "", public, created=0)


@dataclass
class Hall:
    """A machine, those who vote, and what came of it."""

    voters: Voters = field(default_factory=Voters)
    now: int = START
    records: dict[str, bytes] = field(default_factory=dict)
    finished: dict[str, Trail] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = VotingMachine(NAMESPACE, self.voters)

    def say(self, sender: str, verb: str, data: dict[str, object], resource: str = "plan") -> dict[str, Any]:
        """Send a command; its answer as a dict, with `error` if it was refused."""
        command = Command(resource, verb, sender, "i", f"r{len(self.answers)}-{self.now}", data, self.now)
        step = self.machine.command(command)
        answers = self._keep(step)
        for answer in answers:
            if answer.agent == sender and answer.request == command.request:
                return {**answer.data, "error": answer.error} if answer.error else dict(answer.data)
        return {}

    def open(self, resource: str = "plan", **motion: Any) -> Proposal:
        """Open a proposal of `boss`; it has to go well."""
        data = {"title": "Shall we?", "participants": ["a", "b", "c"], **motion}
        answer = self.say("boss", "open", data, resource)
        return self.documents(answer)[0]

    def documents(self, answer: dict[str, Any]) -> list[Proposal]:
        """The proposals that an answer holds."""
        return msgspec.convert(unpacked(answer["proposals"], 1000), list[Proposal])

    def ballot(
        self, voter: str, proposal: Proposal, *choice: str, turn: int = 1, signer: str = "", **changes: object
    ) -> dict[str, object]:
        """A signed ballot as it is sent."""
        by = signer or voter
        leaf = ballot_bytes(proposal.id, proposal.digest(), turn, voter, choice)
        signature = sign_sheet(self.voters.signer(by), NAMESPACE, voter, f"key-{voter}", [leaf])
        item = {"round": turn, "ranking": list(choice)}
        return {
            "key_id": f"key-{voter}",
            "signature": signature_text(signature),
            "ballots": [{**item, **changes}],
        }

    def sheet(self, voter: str, proposals: list[Proposal], *choice: str) -> dict[str, object]:
        """Ballots on several proposals of one list, under one signature."""
        leaves = [ballot_bytes(item.id, item.digest(), 1, voter, choice) for item in proposals]
        signature = sign_sheet(self.voters.signer(voter), NAMESPACE, voter, f"key-{voter}", leaves)
        words = [item.id.partition("/")[2] for item in proposals]
        ballots = [{"round": 1, "ranking": list(choice), "proposals": words}]
        return {"key_id": f"key-{voter}", "signature": signature_text(signature), "ballots": ballots}

    def vote(self, voter: str, proposal: Proposal, *choice: str, turn: int = 1, **changes: object) -> str:
        """Cast a signed ballot; counted, repeated, or why not."""
        answer = self.say(
            voter, "cast", self.ballot(voter, proposal, *choice, turn=turn, **changes), proposal.id
        )
        return str(answer.get("error") or next(iter(answer["ballots"])))

    def wait(self, milliseconds: int) -> None:
        """Let time pass; what falls due happens."""
        self.now += milliseconds
        due = self.machine.next_due()
        if due and due <= self.now:
            self._keep(self.machine.tick(self.now))

    def restart(self) -> None:
        """Another owner takes over, who knows what is stored."""
        self.machine = VotingMachine(NAMESPACE, self.voters)
        self.machine.load(self.records)

    def trail(self, name: str = "plan") -> Trail:
        """The trail of a finished vote."""
        return self.finished[name]

    def _keep(self, step: Step) -> list[Answer]:
        for name, record in step.records.items():
            if record is None:
                self.records.pop(name, None)
            else:
                self.records[name] = record
        for name, text in step.finished.items():
            self.finished[name] = msgspec.msgpack.decode(text, type=Trail)
        self.events += step.events
        self.answers += step.answers
        self.outcomes.append(step.outcome)
        return step.answers
