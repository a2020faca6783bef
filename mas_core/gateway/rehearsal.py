"""Rehearses a message: the very stages and policy that would judge it, and nothing follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from mas_core.base.ids import AGENT_ID, GATEWAY, MESSAGE_TYPE
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.stages.check_standing import isolated
from mas_core.gateway.transit import Stage, Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery, Envelope, Flag
from mas_core.model.rehearsal import Rehearsal, StageVerdict
from mas_core.model.standing import ISOLATING

log = get_logger(__name__)

ANSWER_TTL_MS = 60_000
UNKNOWN = "unknown"

_ABOUT_THE_SENDER = frozenset({"expiry", "access", "rate", "dlp", "priority"})
"""Stages that are asked behind a refusal too: they tell the sender of itself, nothing of its target."""
_COUNTING = frozenset({"rate", "totals"})
"""Stages that look at places which are only reserved for messages in earnest."""
_BEFORE_READING = frozenset({"signature", "form"})
_ENVELOPE = msgspec.msgpack.Decoder(Envelope)


@runtime_checkable
class Rehearsed(Protocol):
    """A stage whose check leaves something behind, so that a rehearsal asks it in another way."""

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, without any effect."""


def read_rehearsal(data: bytes) -> Envelope:
    """The message that is to be rehearsed.

    Raises:
        msgspec.DecodeError: It cannot be read.
    """
    try:
        return _ENVELOPE.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None


class Rehearsals:
    """Answers rehearsals of one partition with the stages that judge its messages."""

    def __init__(
        self, stages: Sequence[Stage], directory: Directory, ledger: Ledger, outbound: Outbound
    ) -> None:
        self._stages = stages
        self._directory = directory
        self._ledger = ledger
        self._outbound = outbound

    def rehearse(self, transit: Transit, envelope: Envelope, batch: Surroundings) -> Verdict:
        """Say what would become of `envelope`, which came inside the control message `transit`."""
        own = self._directory.policy.standings.get(transit.sender)
        if own is not None and own.kind in ISOLATING:
            return isolated(transit.sender, own)
        found = self._pass_stages(
            Transit.of(envelope, transit.sender, transit.instance, transit.key_id, transit.now), batch
        )
        self._ledger.record_event(
            "rehearsal",
            transit.now,
            decision=found.decision,
            reason=found.reason,
            sender=transit.sender,
            target=envelope.target if AGENT_ID.fullmatch(envelope.target) else "",
            message_type=envelope.type if MESSAGE_TYPE.fullmatch(envelope.type) else "",
            instance=transit.instance,
        )
        self._outbound.answer(
            transit.instance,
            Delivery(
                f"{transit.envelope.id}.reply",
                GATEWAY,
                transit.sender,
                "mas.rehearsed",
                msgspec.json.encode(found),
                transit.now,
                transit.now + ANSWER_TTL_MS,
                transit.envelope.priority,
                Flag.IS_REPLY,
                transit.envelope.id,
            ),
        )
        return Verdict(Decision.ALLOWED, "")

    def _pass_stages(self, transit: Transit, batch: Surroundings) -> Rehearsal:
        verdicts = [StageVerdict("authenticate", Decision.ALLOWED, f"sealed under key {transit.key_id}")]
        refusal: Verdict | None = None
        is_readable = True
        for stage in self._stages:
            if refusal is not None and not (is_readable and stage.name in _ABOUT_THE_SENDER):
                verdicts.append(StageVerdict(stage.name, UNKNOWN, is_reached=False))
                continue
            if stage.name in _COUNTING:
                verdicts.append(StageVerdict(stage.name, UNKNOWN, "a rehearsal takes no place"))
                continue
            before = transit.decision
            verdict = _ask(stage, transit, batch)
            if verdict is not None:
                verdicts.append(_told(stage.name, verdict, is_reached=refusal is None))
                if refusal is None and verdict.decision.is_delivered is False:
                    refusal = verdict
                    is_readable = stage.name not in _BEFORE_READING
            else:
                verdicts.append(_passed(stage.name, transit, before, is_reached=refusal is None))
        features = self._directory.policy.features
        off = tuple(name for name in features.__struct_fields__ if not getattr(features, name))
        if refusal is not None:
            return Rehearsal(refusal.decision, refusal.reason, tuple(verdicts), off)
        return Rehearsal(transit.decision, transit.reason, tuple(verdicts), off)


def _ask(stage: Stage, transit: Transit, batch: Surroundings) -> Verdict | None:
    try:
        return (stage.rehearse if isinstance(stage, Rehearsed) else stage.check)(transit, batch)
    except Exception as error:  # noqa: BLE001 - as in earnest, a stage that fails refuses
        log.error("stage.failed", stage=stage.name, trace=trace_of(error))
        return Verdict(Decision.UNSCANNABLE, f"the stage {stage.name} failed on this message")


def _told(stage: str, verdict: Verdict, *, is_reached: bool) -> StageVerdict:
    return StageVerdict(
        stage,
        verdict.decision,
        verdict.reason,
        verdict.rule,
        is_reached,
        verdict.retry_after,
        verdict.hint,
        verdict.findings,
    )


def _passed(stage: str, transit: Transit, before: Decision, *, is_reached: bool) -> StageVerdict:
    if transit.decision is not before:
        return StageVerdict(
            stage, transit.decision, transit.reason, is_reached=is_reached, findings=transit.findings
        )
    rule = transit.rule if stage == "access" else ""
    return StageVerdict(stage, Decision.ALLOWED, rule=rule, is_reached=is_reached)
