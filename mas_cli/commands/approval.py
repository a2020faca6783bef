"""`mas approval`: messages that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.message_flags import Sender, Target, WithPayload
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record, with_rest
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_core.errors import MasError, Refused

if TYPE_CHECKING:
    from mas_core.ops.approvals import Decided, Waiting

ApprovalIds = Annotated[list[str], typer.Argument(metavar="APPROVAL", help="Ids, as in mas approval list.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the audit.")]

_COLUMNS = (
    Column("id"),
    Column("from"),
    Column("to"),
    Column("type"),
    Column("size", kind="number"),
    Column("findings", flexible=True),
    Column("rule"),
    Column("age", kind="duration"),
    Column("expires_in", header="expires in", kind="duration"),
    Column("state", usual="waiting"),
)
_DECIDED = (
    Column("id"),
    Column("from"),
    Column("to"),
    Column("type"),
    Column("result"),
    Column("reason", flexible=True),
    Column("error.message", header="error", flexible=True),
)


async def list_waiting(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
) -> ExitCode:
    """List the messages that wait, the oldest first."""
    async with open_system(call) as system:
        from mas_core.ops import approvals

        waiting = await approvals.list_waiting(system)
    found = [item for item in waiting if sender in {"", item.facts.sender}]
    found = [item for item in found if target in {"", item.facts.target}]
    call.out.records(_COLUMNS, [_row(item) for item in found])
    call.talk.count(
        "1 message waits for approval" if len(found) == 1 else f"{len(found)} messages wait for approval"
    )
    return ExitCode.OK


async def get(
    call: Invocation,
    approval_id: Annotated[str, typer.Argument(metavar="APPROVAL", help="As in mas approval list.")],
    *,
    payload: WithPayload = False,
) -> ExitCode:
    """Show one message that waits.

    The payload is sealed for the gateway: it is shown only where the gateway's key is at hand.
    """
    async with open_system(call) as system:
        from mas_core.ops import approvals

        waiting = await approvals.get(system, approval_id)
        record = {**_row(waiting), **_more(waiting)}
        if payload:
            record["payload"] = await approvals.payload(system, approval_id)
    call.out.record(with_rest(_COLUMNS, record), record)
    return ExitCode.OK


async def approve(call: Invocation, approval_ids: ApprovalIds, *, reason: Reason = "") -> ExitCode:
    """Let messages go that wait; the first decision counts for good.

    A message passes the checks again before it is delivered: who was blocked meanwhile, or what no rule allows
    any more, is not delivered, and the result says so.
    """
    return await _decide(call, approval_ids, approved=True, reason=reason)


async def reject(
    call: Invocation,
    approval_ids: ApprovalIds,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the audit.")],
) -> ExitCode:
    """Refuse messages that wait; the first decision counts for good."""
    return await _decide(call, approval_ids, approved=False, reason=reason)


async def _decide(call: Invocation, approval_ids: list[str], *, approved: bool, reason: str) -> ExitCode:
    unique = list(dict.fromkeys(approval_ids))
    rows: list[Record] = []
    errors: list[MasError] = []
    async with open_system(call) as system:
        from mas_core.ops import approvals

        for approval_id in unique:
            try:
                decided = await approvals.decide(system, approval_id, approved=approved, reason=reason)
            except MasError as error:
                if len(unique) == 1:
                    raise
                errors.append(error)
                rows.append(_failed(approval_id, error))
                continue
            refused = _refusal(decided)
            if refused is not None:
                errors.append(refused)
            rows.append(_result(decided))
    if errors and len(unique) == 1:
        raise errors[0]
    call.out.records(_DECIDED, rows)
    if errors:
        raise PartlyFailed(f"{len(errors)} of {len(unique)} messages went another way")
    return ExitCode.OK


def _refusal(decided: Decided) -> MasError | None:
    """An approved message that the checks did not let pass."""
    outcome = decided.outcome
    if not decided.approved or outcome is None or outcome.is_delivered:
        return None
    return Refused(
        f"approved, but not delivered: {outcome.reason or outcome.decision}",
        hint=f"mas audit get {decided.facts.message_id}",
        approval=decided.facts.approval_id,
        decision=str(outcome.decision),
    )


def _result(decided: Decided) -> Record:
    facts, outcome = decided.facts, decided.outcome
    if not decided.approved:
        result = "rejected"
    elif outcome is None:
        result = "approved"
    else:
        result = "delivered" if outcome.is_delivered else str(outcome.decision)
    reason = "" if outcome is None else outcome.reason
    if decided.approved and outcome is None:
        reason = "no gateway has taken it up yet"
    return {
        "id": facts.approval_id,
        "from": facts.sender,
        "to": facts.target,
        "type": facts.type,
        "message_id": facts.message_id,
        "result": result,
        "reason": reason,
        "error": None,
    }


def _failed(approval_id: str, error: MasError) -> Record:
    return {
        "id": approval_id,
        "from": None,
        "to": None,
        "type": None,
        "message_id": None,
        "result": "failed",
        "reason": None,
        "error": {"code": error.code, "message": error.message},
    }


def _row(waiting: Waiting) -> Record:
    facts = waiting.facts
    return {
        "id": facts.approval_id,
        "from": facts.sender,
        "to": facts.target,
        "type": facts.type,
        "size": facts.size,
        "findings": sorted({finding.rule for finding in facts.findings}),
        "rule": facts.rule,
        "age": waiting.age,
        "expires_in": waiting.expires_in,
        "state": str(waiting.state),
        "message_id": facts.message_id,
    }


def _more(waiting: Waiting) -> Record:
    facts = waiting.facts
    return {
        "decision": str(facts.decision),
        "expects_reply": facts.expects_reply,
        "encrypted": facts.is_encrypted,
        "priority": facts.priority,
        "held_at": moment(facts.held_at),
        "expires_at": moment(facts.expires_at),
        "decided_by": waiting.decision.by if waiting.decision else None,
        "places": [
            {"rule": finding.rule, "path": finding.path, "action": finding.action}
            for finding in facts.findings
        ],
    }
