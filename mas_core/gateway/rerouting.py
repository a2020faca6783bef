"""Messages for a target whose circuit is open go to its backup, if their sender may send to that one too."""

from __future__ import annotations

from collections.abc import Callable

from mas_core.gateway.breakers import Breakers
from mas_core.gateway.screening import Screening
from mas_core.gateway.stages.check_inbox import NO_RESPONDER
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision


def turn_back(
    batch: Surroundings, breakers: Breakers, screening: Screening, is_here: Callable[[str], bool]
) -> None:
    """What the last stages turned back tells of its target, and may go to the backup of that one.

    Args:
        batch: Holds what was turned back, and no more afterwards.
        breakers: Learns of it.
        screening: The stages, which a message to the backup passes again.
        is_here: Whether an agent belongs to this partition; others cannot be delivered to from here.
    """
    turned_back, batch.turned_back = batch.turned_back, []
    for transit in turned_back:
        target = transit.envelope.target
        breakers.turned_back(transit.sender, target, transit.envelope.id)
        if transit.rule == NO_RESPONDER:
            breakers.absent(target, batch.now)
        elif transit.decision is Decision.CIRCUIT_OPEN:
            backup = breakers.backup_of(transit.sender, target)
            if backup:
                _try_backup(transit, backup, batch, screening, is_here=is_here(backup))
    batch.turned_back.clear()


def _try_backup(
    transit: Transit, backup: str, batch: Surroundings, screening: Screening, *, is_here: bool
) -> None:
    """Judge a message that met an open circuit as one to the backup.

    It passes every stage again, since what is allowed, held or looked for may differ from target to target.
    If it does not get through, it stays refused as it was, and the reason says what kept it from the backup.

    Args:
        transit: The message, refused.
        backup: Who gets it instead.
        batch: What is true for the batch.
        screening: The stages.
        is_here: Whether the backup belongs to the same partition; others cannot be delivered to from here.
    """
    envelope, target = transit.envelope, transit.envelope.target
    refusal = Verdict(transit.decision, transit.reason, transit.rule, (), transit.retry_after, transit.hint)
    if not is_here:
        _stay_refused(transit, refusal, f"its backup {backup} belongs to another partition")
        return
    if transit.is_encrypted:
        _stay_refused(
            transit, refusal, f"it is encrypted for {target}, so its backup {backup} could not read it"
        )
        return
    envelope.target = backup
    transit.findings, transit.hold_rule = (), ""
    transit.details = {"original_target": target}
    transit.end(Verdict(Decision.ALLOWED, ""))
    screening.screen([transit], batch)
    if transit.decision.is_accepted:
        transit.reason = transit.reason or f"sent to the backup of {target}, whose circuit is open"
        return
    envelope.target, transit.details = target, None
    _stay_refused(transit, refusal, f"its backup {backup} cannot take it: {transit.decision}")


def _stay_refused(transit: Transit, refusal: Verdict, why: str) -> None:
    transit.end(
        Verdict(
            refusal.decision,
            f"{refusal.reason}; {why}",
            refusal.rule,
            retry_after=refusal.retry_after,
            hint=refusal.hint,
        )
    )
