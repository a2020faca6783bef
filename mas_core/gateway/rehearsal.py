"""Rehearses a message: the very stages and policy that would judge it, and nothing follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from mas_core.base.ids import GATEWAY, MESSAGE_TYPE
from mas_core.base.logs import get_logger
from mas_core.base.resources import TARGET
from mas_core.base.traces import trace_of
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.stages.check_standing import isolated
from mas_core.gateway.totals import Totals
from mas_core.gateway.transit import Stage, Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery, Envelope, Flag
from mas_core.model.rehearsal import Rehearsal, StageVerdict
from mas_core.model.standing import ISOLATING
from mas_core.store.lookups import Lookups

log = get_logger(__name__)

ANSWER_TTL_MS = 60_000
UNKNOWN = "unknown"

_ABOUT_THE_SENDER = frozenset({"form", "expiry", "access", "rate", "encryption", "dlp", "priority"})
"""Stages that are asked behind a refusal too: they tell the sender of itself, nothing of its target."""
_COUNTING = frozenset({"rate", "totals"})
"""Stages that look at places, which are only reserved for messages in earnest."""
_FORM = "form"
_NEED_NO_FORM = frozenset({"form", "expiry"})
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
    except (UnicodeDecodeError, RecursionError):
        raise msgspec.DecodeError("it is no message") from None


class Rehearsals:
    """Answers rehearsals of one partition with the stages that judge its messages."""

    def __init__(
        self,
        stages: Sequence[Stage],
        directory: Directory,
        totals: Totals | None,
        ledger: Ledger,
        outbound: Outbound,
    ) -> None:
        self._stages = stages
        self._directory = directory
        self._totals = totals
        self._ledger = ledger
        self._outbound = outbound

    def ask(self, sender: str, envelope: Envelope, lookups: Lookups) -> None:
        """Ask how much of the limits is used that the message would count in."""
        if self._directory.policy.features.rate_limit:
            lookups.limit_use(sender, self._directory.limits.of(sender))
            for name in self._totals_of(sender, envelope):
                lookups.limit_use(name, self._directory.limits.totals[name])

    def _totals_of(self, sender: str, envelope: Envelope) -> tuple[str, ...]:
        return self._totals.names(sender, envelope.target) if self._totals else ()

    def rehearse(
        self, transit: Transit, envelope: Envelope, lookups: Lookups, batch: Surroundings
    ) -> Verdict:
        """Say what would become of `envelope`, which came inside the control message `transit`."""
        own = self._directory.policy.standings.get(transit.sender)
        if own is not None and own.kind in ISOLATING:
            return isolated(transit.sender, own)
        found = self._pass_stages(
            Transit.of(envelope, transit.sender, transit.instance, transit.key_id, transit.now),
            lookups,
            batch,
        )
        self._ledger.record_event(
            "rehearsal",
            transit.now,
            decision=found.decision,
            reason=found.reason,
            sender=transit.sender,
            target=envelope.target if TARGET.fullmatch(envelope.target) else "",
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

    def _pass_stages(self, transit: Transit, lookups: Lookups, batch: Surroundings) -> Rehearsal:
        verdicts = [StageVerdict("authenticate", Decision.ALLOWED, f"sealed under key {transit.key_id}")]
        refusal: Verdict | None = None
        is_readable = False
        for stage in self._stages:
            is_asked = stage.name in _ABOUT_THE_SENDER and (is_readable or stage.name in _NEED_NO_FORM)
            if refusal is not None and not is_asked:
                verdicts.append(StageVerdict(stage.name, UNKNOWN, is_reached=False))
                continue
            before, reason_before, note = transit.decision, transit.reason, ""
            if stage.name in _COUNTING:
                of_sender = (transit.sender,)
                subjects = (
                    of_sender if stage.name == "rate" else self._totals_of(transit.sender, transit.envelope)
                )
                verdict, note = _limited(subjects, lookups)
            else:
                verdict = _ask(stage, transit, batch)
            if (
                stage.name == "standing"
                and self._directory.policy.standing_of(transit.envelope.target) == "paused"
            ):
                note = f"{transit.envelope.target} is paused: it would wait"
            if stage.name == _FORM:
                is_readable = verdict is None
            if verdict is not None:
                verdicts.append(_told(stage.name, verdict, is_reached=refusal is None))
                if refusal is None and verdict.decision.is_delivered is False:
                    refusal = verdict
            else:
                note = note or (transit.reason if transit.reason != reason_before else "")
                verdicts.append(_passed(stage.name, transit, before, note, is_reached=refusal is None))
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


def _limited(subjects: Sequence[str], lookups: Lookups) -> tuple[Verdict | None, str]:
    """The verdict on one more message of these subjects, or how much of their limits is used."""
    used: list[str] = []
    for subject in subjects:
        for window in lookups.uses.get(subject, ()):
            if not 0 <= window.used < window.limit:
                told = f"{window.used} of the {window.limit} messages of this {window.window} are used"
                if window.used < 0:
                    told = "the counts cannot be read"
                reason = f"Rate limit exceeded: {subject}: {told}"
                return Verdict(Decision.RATE_LIMITED, reason, hint=(f"mas limit get {subject}",)), ""
            used.append(f"{window.used} of {window.limit} this {window.window}")
    return None, ", ".join(used)


def _passed(stage: str, transit: Transit, before: Decision, note: str, *, is_reached: bool) -> StageVerdict:
    if transit.decision is not before:
        return StageVerdict(
            stage, transit.decision, transit.reason, is_reached=is_reached, findings=transit.findings
        )
    rule = transit.rule if stage == "access" else ""
    return StageVerdict(stage, Decision.ALLOWED, note, rule, is_reached)
