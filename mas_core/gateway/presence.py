"""Who is there: instances come, say that they live, and go; agents ask who else is running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from mas_core.base.ids import GATEWAY, new_message_id
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.controls import AttachData, DiscoverData, WaysData, check_claims, read_control
from mas_core.gateway.directory import Directory
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.stages.check_standing import isolated
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import ATTACH, BEAT, DETACH, STANDING, Delivery, Flag
from mas_core.model.registration import InstanceStatus
from mas_core.model.routing import Candidate, Candidates, RoutingRule
from mas_core.model.standing import ACTIVE, ISOLATING, Directive, Standing
from mas_core.registry.registry import REGISTRATION_EXPIRY_MS, AgentEntry, instance_text
from mas_core.registry.signed import Macs
from mas_core.store.commits import Commit

ANSWER_TTL_MS = 60_000
MAX_ANSWER_BYTES = 512 * 1024
"""A longer list of agents is cut, and says so."""
MAX_WAYS = 1000
"""Agents that are told for one message, those with the least in hand."""
FORGET_AFTER_MS = 10 * REGISTRATION_EXPIRY_MS
"""Traces of an instance are dropped so long after its last heartbeat."""

_ACTIVE = Standing(ACTIVE)


class Presence:
    """Answers what instances tell and ask about presence; `effects` gets what must be committed."""

    def __init__(
        self,
        directory: Directory,
        macs: Macs,
        ledger: Ledger,
        outbound: Outbound,
        inboxes: Inboxes,
        breakers: Breakers,
        effects: list[Callable[[Commit], None]],
    ) -> None:
        self._directory = directory
        self._macs = macs
        self._ledger = ledger
        self._outbound = outbound
        self._inboxes = inboxes
        self._breakers = breakers
        self._effects = effects

    def tell(self, transit: Transit) -> Verdict:
        """An instance attaches, beats or detaches.

        Raises:
            msgspec.DecodeError: Its message cannot be read.
        """
        data = read_control(transit.envelope.data, AttachData)
        agent_id, instance, now = transit.sender, transit.instance, transit.now
        instances = self._inboxes.instances(agent_id)
        known = instances.get(instance)
        if transit.envelope.type == DETACH:
            instances.pop(instance, None)
            self._effects.append(lambda commit: commit.end_instance(agent_id, instance))
            self._record("agent.detach", transit, Decision.ALLOWED, "")
            return Verdict(Decision.ALLOWED, "")
        registration = self._directory.registration(agent_id)
        if (verdict := _out_of_date(transit, data, instances)) is not None:
            kind = transit.envelope.type.replace("mas.", "agent.")
            self._record(kind, transit, verdict.decision, verdict.reason)
            return verdict
        standing = self._directory.policy.standings.get(agent_id, _ACTIVE)
        if standing.kind == "evicted" and known is None:
            verdict = isolated(agent_id, standing)
            self._record("agent.attach", transit, verdict.decision, verdict.reason)
            return verdict
        refusal = check_claims(data, registration.capabilities if registration else ())
        if refusal is None and (unlawful := self._directory.claims.refused(agent_id, data.capabilities)):
            refusal = (
                Decision.DENIED,
                f"Authorization denied: the policy does not let {agent_id} claim the capability {unlawful}",
            )
        if refusal is not None:
            self._record("agent.attach", transit, *refusal)
            return Verdict(*refusal)
        status = InstanceStatus(
            instance,
            known.started if known else now,
            now,
            data.status,
            data.in_hand,
            data.capabilities,
            data.metadata,
            data.slot,
            data.host[:64],
            data.pid,
            data.incarnation,
            data.standing,
            data.state_model,
            data.state_looked,
            data.state_problem,
            data.at_once,
        )
        text = instance_text(self._macs, agent_id, status)
        self._effects.append(lambda commit: commit.set_instance(agent_id, instance, text, now))
        if known is None:
            self._breakers.came(agent_id, now)
            self._retire(agent_id, instances, data.slot, now)
            if transit.envelope.type == ATTACH:
                self._record("agent.attach", transit, Decision.ALLOWED, "")
        instances[instance] = status
        if data.standing != standing.kind:
            self._direct(agent_id, instance, standing, now)
        return Verdict(Decision.ALLOWED, "")

    def has_directives(self, now: int) -> bool:
        """Whether some running instance does not obey yet what an operator said of its agent."""
        return next(self._disobedient(now), None) is not None

    def direct_all(self, now: int) -> None:
        """Tell every running instance that does not obey yet."""
        for agent_id, instance, standing in self._disobedient(now):
            self._direct(agent_id, instance, standing, now)

    def _disobedient(self, now: int) -> Iterator[tuple[str, str, Standing]]:
        standings = self._directory.policy.standings
        for agent_id, status in self._inboxes.running(now):
            standing = standings.get(agent_id, _ACTIVE)
            if status.standing != standing.kind:
                yield agent_id, status.instance, standing

    def _direct(self, agent_id: str, instance: str, standing: Standing, now: int) -> None:
        self._outbound.answer(
            instance,
            Delivery(
                new_message_id(),
                GATEWAY,
                agent_id,
                STANDING,
                msgspec.json.encode(Directive(standing.kind, standing.reason)),
                now,
                now + ANSWER_TTL_MS,
                flags=Flag.IS_REPLY,
            ),
        )

    def discover(self, transit: Transit) -> Verdict:
        """Answer with the running agents that the asker may talk to.

        Raises:
            msgspec.DecodeError: The question cannot be read.
        """
        standings = self._directory.policy.standings
        own = standings.get(transit.sender, _ACTIVE)
        if own.kind in ISOLATING:
            return isolated(transit.sender, own)
        wanted = read_control(transit.envelope.data, DiscoverData)
        found: list[dict[str, object]] = []
        size = 0
        for entry in self._directory.roster.candidates(wanted.capabilities, match_all=wanted.match_all):
            running = entry.running(transit.now)
            if entry.agent_id in standings:
                continue
            if not running or not self._directory.access.may_see(transit.sender, entry.agent_id, transit.now):
                continue
            capabilities = entry.capabilities(transit.now)
            metadata = entry.metadata(transit.now)
            matches = [name in capabilities for name in wanted.capabilities]
            if matches and not (all(matches) if wanted.match_all else any(matches)):
                continue
            if any(metadata.get(name) != value for name, value in wanted.metadata.items()):
                continue
            if wanted.status and all(item.status != wanted.status for item in running):
                continue
            item = {
                "id": entry.agent_id,
                "capabilities": capabilities,
                "metadata": metadata,
                "instances": len(running),
                "load": sum(status.in_hand for status in running),
                "free": sum(status.free for status in running),
            }
            size += len(msgspec.json.encode(item))
            if size > MAX_ANSWER_BYTES:
                break
            found.append(item)
        if wanted.limit:
            found = sorted(found, key=_load)[: wanted.limit]
        self._answer(transit, "mas.discovered", {"agents": found, "is_whole": size <= MAX_ANSWER_BYTES})
        return Verdict(Decision.ALLOWED, "")

    def tell_ways(self, transit: Transit) -> Verdict:
        """Answer with the running agents that the asker may send a message to that has no agent for a target.

        Raises:
            msgspec.DecodeError: The question cannot be read.
        """
        standings = self._directory.policy.standings
        own = standings.get(transit.sender, _ACTIVE)
        if own.kind in ISOLATING:
            return isolated(transit.sender, own)
        wanted = read_control(transit.envelope.data, WaysData)
        route, rule = self._directory.routing.find(wanted.target, wanted.type)
        agents: list[Candidate] = []
        action = "request" if wanted.expects_reply else "send"
        for entry in self._entries_of(rule) if rule is not None else ():
            running = entry.running(transit.now)
            agent_id, capabilities = entry.agent_id, entry.capabilities(transit.now)
            if not running or agent_id in standings or agent_id == transit.sender:
                continue
            if rule is None or not self._directory.routing.is_meant(rule, agent_id, capabilities):
                continue
            found = self._directory.access.decide(transit.sender, agent_id, wanted.type, action, transit.now)
            if found.outcome == "denied":
                continue
            agents.append(
                Candidate(
                    agent_id,
                    tuple(name for name in capabilities if name in rule.wanted),
                    len(running),
                    sum(status.status == "active" for status in running),
                    sum(status.in_hand for status in running),
                )
            )
        agents = sorted(agents, key=lambda agent: agent.load / agent.instances)[:MAX_WAYS]
        self._answer(transit, "mas.ways_found", Candidates(route, rule, tuple(agents)))
        return Verdict(Decision.ALLOWED, "")

    def _entries_of(self, rule: RoutingRule) -> Iterable[AgentEntry]:
        """Those that a rule may mean."""
        roster = self._directory.roster
        is_by_capability = len(rule.wanted) == len(rule.to)
        return roster.candidates(rule.wanted if is_by_capability else (), match_all=False)

    def _answer(self, transit: Transit, message_type: str, data: object) -> None:
        self._outbound.answer(
            transit.instance,
            Delivery(
                f"{transit.envelope.id}.reply",
                GATEWAY,
                transit.sender,
                message_type,
                msgspec.json.encode(data),
                transit.now,
                transit.now + ANSWER_TTL_MS,
                transit.envelope.priority,
                Flag.IS_REPLY,
                transit.envelope.id,
            ),
        )

    def _retire(self, agent_id: str, instances: dict[str, InstanceStatus], slot: str, now: int) -> None:
        for other in list(instances.values()):
            if slot and other.slot == slot:
                replaced = other.instance
                del instances[replaced]
                self._effects.append(lambda commit, gone=replaced: commit.end_instance(agent_id, gone))  # type: ignore[misc]
            elif other.seen + FORGET_AFTER_MS < now:
                del instances[other.instance]
                old = [other.instance]
                self._effects.append(lambda commit, gone=old: commit.forget_instances(agent_id, gone))  # type: ignore[misc]

    def _record(self, kind: str, transit: Transit, decision: Decision, reason: str) -> None:
        self._ledger.record_event(
            kind,
            transit.now,
            decision=decision,
            reason=reason,
            sender=transit.sender,
            instance=transit.instance,
        )


def _out_of_date(
    transit: Transit, data: AttachData, instances: Mapping[str, InstanceStatus]
) -> Verdict | None:
    """Refuse lives of an instance that have ended: late heartbeats, and those whose place was taken.

    Only attaching begins a life. A heartbeat keeps up the one that it belongs to, while that lasts.
    """
    known = instances.get(transit.instance)
    if transit.envelope.type == BEAT:
        if known is None or known.seen + REGISTRATION_EXPIRY_MS <= transit.now:
            return _ended("this instance has expired or was ended")
        if data.incarnation != known.incarnation:
            return _ended("this heartbeat is of another life of the instance")
    elif known is not None and data.incarnation < known.incarnation:
        return _ended("a later life of this instance has begun")
    if any(
        other.slot == data.slot and other.incarnation > data.incarnation
        for other in instances.values()
        if data.slot and other.instance != transit.instance
    ):
        return _ended("a younger instance has taken its place")
    return None


def _load(item: Mapping[str, object]) -> float:
    """Of an agent that was found: what is in hand for each instance."""
    return float(str(item["load"])) / int(str(item["instances"]))


def _ended(reason: str) -> Verdict:
    return Verdict(Decision.DENIED, f"Authorization denied: {reason}", "incarnation")
