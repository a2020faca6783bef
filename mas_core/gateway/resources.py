"""Hands messages to resources to their machines, and puts what follows into the commit.

The machines' records are copies of the store like everything that an owner knows; they are loaded when it starts
over. A record that cannot be opened was not written by a gateway: its resource takes no commands until an operator
has looked, since to begin anew would forget what was agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from mas_core.base.ids import GATEWAY
from mas_core.base.logs import get_logger
from mas_core.base.resources import kind_of, name_of
from mas_core.base.traces import trace_of
from mas_core.coordination.casting import SigningKeys
from mas_core.coordination.election import Election
from mas_core.coordination.machine import Answer, Command, Machine, Refusal, Step
from mas_core.coordination.task_queues import TaskQueues
from mas_core.coordination.voting import VotingMachine
from mas_core.errors import DecryptionFailed
from mas_core.gateway.fences import make_fence
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.transit import Transit
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery, Flag
from mas_core.model.resource_record import finished_purpose, record_purpose
from mas_core.model.topic import is_topic
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit

ANSWER_TTL_MS = 60_000
SPOILED = "spoiled"
"""Code of the refusal where the stored record of a resource is not ours."""
FAILED = "failed"
"""Code of the refusal where the machine of a kind has failed."""

log = get_logger(__name__)


class Resources:
    """The resources of one partition.

    Args:
        keys: Under which records are sealed and fences made.
        ledger: Gets what happens to resources by themselves.
        outbound: Gets the answers.
        effects: Gets what must be committed.
        stored: Kind -> name -> sealed record, as the store has them.
        may_claim: Whether the policy lets an agent claim a capability.
        signing_keys: The public keys of agents, for what they sign.
        namespace: Of the system.
        former: Kind and command of those who waited when the owner started over: they are told to ask again.
    """

    def __init__(
        self,
        keys: GatewayKeys,
        ledger: Ledger,
        outbound: Outbound,
        effects: list[Callable[[Commit], None]],
        stored: Mapping[str, Mapping[str, bytes]],
        may_claim: Callable[[str, str], bool],
        *,
        signing_keys: SigningKeys,
        namespace: str,
        former: Iterable[tuple[str, Command]] = (),
    ) -> None:
        self._at_rest = AtRest(keys.at_rest_key)
        self._ledger = ledger
        self._outbound = outbound
        self._effects = effects
        self._machines: dict[str, Machine] = {
            machine.kind: machine
            for machine in (
                Election(lambda group, term, agent: make_fence(keys, group, term, agent)),
                TaskQueues(may_claim),
                VotingMachine(namespace, signing_keys),
            )
        }
        self._former = list(former)
        self._spoiled: set[tuple[str, str]] = set()
        self._failed: set[str] = set()
        """Kinds whose machine did what it must not do; the others, and all messages to agents, go on."""
        for kind, machine in self._machines.items():
            try:
                machine.load(self._opened(kind, stored.get(kind, {})))
            except Exception as error:  # noqa: BLE001 - no record may stop a partition
                self._note_failure(kind, error)

    @property
    def alarms(self) -> list[str]:
        """What is wrong and needs an operator."""
        found = [
            f"{kind}: takes no commands, see resources.failed in the log" for kind in sorted(self._failed)
        ]
        names = ", ".join(sorted(f"{kind}:{name}" for kind, name in self._spoiled)[:5])
        if names:
            found.append(f"records of resources are not ours, so these take no commands: {names}")
        return found

    def waiting(self) -> list[tuple[str, Command]]:
        """Kind and command of those who wait for an answer."""
        found = [(kind, command) for kind, machine in self._machines.items() for command in machine.waiting()]
        return self._former + found

    def is_due(self, now: int) -> bool:
        """Whether something has to be done though no message came."""
        return bool(self._former) or any(self._due(now))

    def carry_out(self, transits: Iterable[Transit]) -> None:
        """Let machines take the messages that came through to them; what became of each is in its details."""
        for transit in transits:
            if transit.decision.is_delivered and not transit.is_repeat:
                step = self._carry_out(transit)
                if step.outcome:
                    transit.details = {**(transit.details or {}), "outcome": step.outcome, **step.details}

    def tick(self, now: int) -> None:
        """Carry out what falls due by itself."""
        former, self._former = self._former, []
        for kind, command in former:
            self._send_away(kind, command.without_waiting(now))
        for machine in list(self._due(now)):
            try:
                step = machine.tick(now)
            except Exception as error:  # noqa: BLE001 - it would fail again at once, for ever
                self._note_failure(machine.kind, error)
            else:
                self._follow(machine.kind, step, now)

    def _due(self, now: int) -> Iterator[Machine]:
        for kind, machine in self._machines.items():
            if kind not in self._failed and 0 < machine.next_due() <= now:
                yield machine

    def _note_failure(self, kind: str, error: Exception) -> None:
        log.error("resources.failed", kind=kind, trace=trace_of(error))
        self._failed.add(kind)

    def _send_away(self, kind: str, command: Command) -> None:
        if kind in self._failed:
            return
        try:
            step = self._machines[kind].send_away(command)
        except Refusal as refusal:
            step = Step()
            step.answer(command, {"message": refusal.message}, refusal.code)
        self._follow(kind, step, command.now)

    def _carry_out(self, transit: Transit) -> Step:
        envelope = transit.envelope
        kind, name = kind_of(envelope.target), name_of(envelope.target)
        prefix, _, verb = envelope.type.partition(".")
        command = Command(
            name,
            verb,
            transit.sender,
            transit.instance,
            envelope.id,
            msgspec.json.decode(transit.data, type=dict[str, object]),
            transit.now,
            transit.expects_reply,
        )
        machine = self._machines.get(kind) if prefix == kind else None
        try:
            step = self._step(machine, command, kind)
        except Refusal as refusal:
            step = Step(outcome=refusal.code)
            step.answer(command, {"message": refusal.message}, refusal.code)
        self._follow(kind, step, transit.now)
        return step

    def _step(self, machine: Machine | None, command: Command, kind: str) -> Step:
        if machine is None:
            raise Refusal("invalid", f"a {kind} takes no messages of this type")
        if kind in self._failed:
            raise Refusal(FAILED, f"no {kind} takes commands before a gateway starts over")
        if (kind, command.resource) in self._spoiled:
            raise Refusal(SPOILED, f"the stored record of {kind}:{command.resource} is not ours")
        return machine.command(command)

    def _follow(self, kind: str, step: Step, now: int) -> None:
        for name, record in step.records.items():
            sealed = None if record is None else self._at_rest.seal(record_purpose(kind, name), record)
            self._effects.append(
                lambda commit, name=name, sealed=sealed: commit.set_resource(kind, name, sealed)  # type: ignore[misc]
            )
        for name, record in step.finished.items():
            sealed = self._at_rest.seal(finished_purpose(kind, name), record)
            self._effects.append(
                lambda commit, name=name, sealed=sealed: commit.finish_resource(kind, name, sealed)  # type: ignore[misc]
            )
        for event in step.events:
            self._ledger.record_event(
                event.kind,
                now,
                decision=Decision.ALLOWED,
                reason=event.reason,
                sender=event.sender,
                target=f"{kind}:{event.resource}",
                details=dict(event.details),
            )
        for answer in step.answers:
            self._answer(kind, answer, now)

    def _answer(self, kind: str, answer: Answer, now: int) -> None:
        data: dict[str, object] = answer.data
        flags = Flag.IS_REPLY
        if answer.error:
            flags |= Flag.ERROR
            data = {"error": {"code": answer.error, **answer.data}}
        self._outbound.answer(
            answer.instance,
            Delivery(
                f"{answer.request}.reply",
                GATEWAY,
                answer.agent,
                f"{kind}.answer",
                msgspec.json.encode(data),
                now,
                now + ANSWER_TTL_MS,
                flags=flags,
                correlation=answer.request,
            ),
        )

    def _opened(self, kind: str, sealed: Mapping[str, bytes]) -> dict[str, bytes]:
        records = {}
        for name, text in sealed.items():
            try:
                records[name] = self._at_rest.open(record_purpose(kind, name), text)
            except DecryptionFailed as error:
                self._spoiled.add((kind, name.partition("/")[0]))
                log.error("resource.ignored", resource=f"{kind}:{name[:100]}", reason=trace_of(error))
        return records


def of_resources(transits: Sequence[Transit]) -> list[Transit]:
    """Those that are addressed to resources with a machine; topics have logs."""
    return [
        transit for transit in transits if transit.is_for_resource and not is_topic(transit.envelope.target)
    ]
