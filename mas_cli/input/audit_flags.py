"""Flags that choose audit records, shared by the commands that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.input.time_ranges import parse_range
from mas_core.errors import UsageError
from mas_core.model.decision import Decision

if TYPE_CHECKING:
    from mas_core.ops.audit import AuditFilter

Sender = Annotated[str, typer.Option("--from", "--sender", metavar="AGENT", help="Only from this agent.")]
Target = Annotated[str, typer.Option("--to", "--target", metavar="AGENT", help="Only to this agent.")]
MessageType = Annotated[str, typer.Option("--type", metavar="GLOB", help="Only these message types.")]
Wanted = Annotated[
    str, typer.Option("--decision", metavar="|".join(Decision), help="Only with this decision.")
]
Kind = Annotated[
    str, typer.Option(metavar="NAME", help="Only of this kind: message, frame, agent.attach, ...")
]
RuleId = Annotated[
    str, typer.Option("--rule", metavar="ID", help="Only where this rule decided or found something.")
]
Found = Annotated[
    str,
    typer.Option("--finding", metavar="ID", help="Only where this was found: a rule, or pii, pci, phi, ..."),
]
Actor = Annotated[str, typer.Option("--actor", metavar="USER[@HOST]", help="Only what this operator did.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="From then on: 1h, yesterday, a date or time.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
Scan = Annotated[
    bool, typer.Option("--scan", help="Read all records instead of asking the index where to look.")
]


def filter_of(
    *,
    utc: bool,
    sender: str = "",
    target: str = "",
    message_type: str = "",
    decision: str = "",
    kind: str = "",
    rule: str = "",
    finding: str = "",
    actor: str = "",
    since: str | None = None,
    until: str | None = None,
) -> AuditFilter:
    """The records that the flags choose.

    Raises:
        UsageError: One of them makes no sense.
    """
    from mas_core.ops.audit import AuditFilter

    if decision not in {"", *Decision}:
        raise UsageError(f"--decision: {decision!r} is none of {', '.join(Decision)}")
    span = parse_range(since, until, utc=utc)
    return AuditFilter(
        sender=sender,
        target=target,
        message_type=message_type,
        decision=decision,
        kind=kind,
        rule=rule,
        since=span.since or 0,
        until=span.until or 0,
        finding=finding,
        actor=actor,
    )
