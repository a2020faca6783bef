"""What the stages would say about a message, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_core.model.decision import Decision

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation
    from mas_core.model.rehearsal import Rehearsal, StageVerdict

_PASSING = {
    "allowed": "good",
    "scheduled": "good",
    "alert": "warn",
    "redacted": "warn",
    "not reached": "dim",
    "unknown": "dim",
}


def verdict_style(verdict: object) -> Style | None:
    """How a verdict is painted."""
    return _PASSING.get(str(verdict).partition(" (")[0], "bad")  # type: ignore[return-value]


_COLUMNS = (
    Column("stage", style=lambda _: "name"),
    Column("verdict", style=verdict_style),
    Column("rule"),
    Column("places"),
    Column("reason", flexible=True),
)


def show_rehearsal(call: Invocation, found: Rehearsal) -> ExitCode:
    """Write what each stage says; 0 when the message would pass, 5 when it would be refused."""
    if call.out.format in {Format.JSON, Format.YAML} and call.out.options.columns is None:
        call.out.document(_document(found))
    else:
        call.out.records(_COLUMNS, rehearsal_rows(found))
    if found.switched_off:
        call.talk.say(f"switched off by the policy: {', '.join(found.switched_off)}")
    if found.would_pass:
        call.talk.say(f"it would be delivered: {found.decision}; nothing was sent")
        return ExitCode.OK
    if found.decision is Decision.SCHEDULED:
        call.talk.say(f"it would be scheduled: {found.reason}; nothing was sent")
        return ExitCode.OK
    call.talk.say(f"it would be refused: {found.decision}: {found.reason}; nothing was sent")
    for item in found.stages:
        if item.is_reached and item.decision == found.decision:
            for line in item.hint:
                call.talk.say(f"try: {line}")
    return ExitCode.REFUSED


def rehearsal_rows(found: Rehearsal) -> list[Record]:
    """What each stage says, as rows."""
    return [_row(item) for item in found.stages]


def _verdict(item: StageVerdict) -> str:
    if item.is_reached:
        return item.decision
    return "not reached" if item.decision == "unknown" else f"not reached ({item.decision})"


def _row(item: StageVerdict) -> Record:
    return {
        "stage": item.stage,
        "verdict": _verdict(item),
        "rule": item.rule or None,
        "places": [f"{each.rule} {each.path or '/'} {each.start}-{each.end}" for each in item.findings],
        "reason": item.reason or None,
    }


def _document(found: Rehearsal) -> dict[str, object]:
    return {
        "would_pass": found.would_pass,
        "decision": str(found.decision),
        "reason": found.reason or None,
        "switched_off": list(found.switched_off),
        "stages": [
            {
                "stage": item.stage,
                "verdict": _verdict(item),
                "reached": item.is_reached,
                "decision": item.decision,
                "rule": item.rule or None,
                "reason": item.reason or None,
                "retry_after": item.retry_after or None,
                "hint": list(item.hint),
                "findings": [
                    {
                        "rule": each.rule,
                        "category": each.category,
                        "path": each.path,
                        "start": each.start,
                        "end": each.end,
                        "action": each.action,
                        "severity": each.severity,
                    }
                    for each in item.findings
                ],
            }
            for item in found.stages
        ],
    }
