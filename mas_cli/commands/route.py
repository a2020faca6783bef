"""`mas route`: which agents get what is sent to a capability or a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import OPERATOR, Argument, As, Fields, JsonFields, Type
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.model.routing import RoutingRule

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the rule.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]

_RULES = (
    Column("route", style=lambda _: "name"),
    Column("type"),
    Column("capability"),
    Column("to", flexible=True),
    Column("strategy"),
    Column("weights"),
    Column("key"),
    Column("source"),
)
_WAYS = (
    Column("place", kind="number"),
    Column("agent", style=lambda _: "name"),
    Column("why", flexible=True),
    Column("route"),
    Column("strategy"),
)


async def list_routes(call: Invocation) -> ExitCode:
    """List the routing rules, in the order in which they are asked."""
    async with open_system(call) as system:
        from mas_core.ops import routing

        rules = await routing.list_routes(system)
    call.out.records(_RULES, [_row(name, rule) for name, rule in rules.items()])
    call.talk.count(f"{len(rules)} routing rules")
    return ExitCode.OK


async def set_route(
    call: Invocation,
    name: Name,
    to: Annotated[
        list[str],
        typer.Argument(metavar="TO", help="Agents, role:NAME or capability:NAME; one gets each message."),
    ],
    *,
    message_type: Annotated[
        str, typer.Option("--type", metavar="GLOB", help="Only these message types, such as 'nlp_*'.")
    ] = "*",
    capability: Annotated[
        str,
        typer.Option(metavar="NAME", help="For what is sent to capability:NAME, in place of the route."),
    ] = "",
    strategy: Annotated[
        str,
        typer.Option(metavar="STRATEGY", help="least_loaded, round_robin, weighted, best_match or sticky."),
    ] = "least_loaded",
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", metavar="AGENT=N", help="Of weighted: its share; 1 if left out; repeatable."
        ),
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            metavar="POINTER", help="Of sticky: what goes to one agent, as /customer/id; else the sender."
        ),
    ] = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Say which agents get what is sent to a route or a capability; in force when it returns.

    Messages to route:NAME go by the rule of this name, those to 'route:*' by the first that fits their type. Who
    may send what to whom is up to the rules of mas rbac, as ever.
    """
    weights = dict(_weight(text) for text in weight or ())
    async with open_system(call) as system:
        from mas_core.ops import routing

        rule = await routing.set_route(
            system,
            name,
            to,
            message_type=message_type,
            capability=capability,
            strategy=strategy,
            weights=weights,
            key=key,
            dry_run=dry_run,
        )
    call.out.record(_RULES, _row(name, rule))
    call.talk.say("nothing was changed" if dry_run else f"undo with: mas route remove {name}")
    return ExitCode.OK


async def remove(call: Invocation, name: Name, *, dry_run: DryRun = False) -> ExitCode:
    """Take a routing rule away; in force when it returns."""
    async with open_system(call) as system:
        from mas_core.ops import routing

        await routing.remove_route(system, name, dry_run=dry_run)
    change = "would remove" if dry_run else "removed"
    call.out.record((Column("route"), Column("change")), {"route": name, "change": change})
    return ExitCode.OK


async def try_route(
    call: Invocation,
    message_type: Type,
    payload: Argument = None,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="capability:NAME, route:NAME or 'route:*'.")
    ] = "route:*",
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    request: Annotated[bool, typer.Option("--request", help="As a request.")] = False,
) -> ExitCode:
    """Tell which agent a message would go to, which would be next, and why; nothing is sent.

    Exit code 1 says that nobody runs that it may go to.
    """
    source = PayloadSource(payload, fields or (), json_fields or ())
    (data,) = payloads(source, call.stdin, before_stdin=announced(call))
    async with open_system(call) as system:
        from mas_core.ops import routing

        found, ways = await routing.try_route(
            system, to, message_type, data, as_agent=as_agent, expects_reply=request
        )
    strategy = found.rule.strategy if found.rule is not None else None
    rows: list[Record] = [
        {"place": at, "agent": way.agent, "why": way.why, "route": found.route or None, "strategy": strategy}
        for at, way in enumerate(ways, 1)
    ]
    call.out.records(_WAYS, rows)
    if not rows:
        call.talk.warn(f"nobody runs that {as_agent} may send it to")
        return ExitCode.NO
    return ExitCode.OK


def _weight(text: str) -> tuple[str, int]:
    agent, equals, share = text.partition("=")
    if not equals or not share.isdecimal():
        raise UsageError(f"--weight: {text!r} does not say how much", hint="--weight AGENT=3")
    return agent, int(share)


def _row(name: str, rule: RoutingRule) -> Record:
    return {
        "route": name,
        "type": rule.type,
        "capability": rule.capability or None,
        "to": list(rule.to),
        "strategy": rule.strategy,
        "weights": dict(rule.weights) or None,
        "key": rule.key or None,
        "source": rule.source,
    }
