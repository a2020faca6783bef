"""Flags and arguments that the commands about single messages share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mas_core.errors import UsageError

OPERATOR = "operator"
PickName = Literal["best", "one", "least-loaded", "all"]
PICKS: tuple[PickName, ...] = ("best", "one", "least-loaded", "all")

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="Id of the agent, capability:NAME, route:NAME or 'route:*'.")
]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="Type of the message, such as math.add.")]
Argument = Annotated[
    str | None,
    typer.Argument(metavar="PAYLOAD", help="JSON, @file, or - for standard input; {} if left out."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("-F", "--field", metavar="K=V", help="A string for the payload; repeatable."),
]
JsonFields = Annotated[
    list[str] | None,
    typer.Option("-J", "--json-field", metavar="K:=JSON", help="A JSON value for the payload; repeatable."),
]
As = Annotated[
    str, typer.Option("--as", metavar="AGENT", help="The agent to act as; its token has to be at hand.")
]
Encrypt = Annotated[
    bool, typer.Option("--encrypt", help="So that only the target can read it, where the policy lets it.")
]
Priority = Annotated[
    str,
    typer.Option(metavar="critical|high|normal|low|bulk", help="How urgent it is; also 0 to 10."),
]

Ttl = Annotated[str, typer.Option(metavar="DUR", help="After this long it is of no use.")]
Lines = Annotated[bool, typer.Option("--lines", help="Every line is a message of its own.")]
Rate = Annotated[
    float, typer.Option(metavar="N", help="At most so many a second; as fast as possible if left out.")
]
Template = Annotated[
    bool, typer.Option("--template", help="Fill in {{count}}, {{id}}, {{now}} and {{random 8}}.")
]

Delivery = Annotated[
    str,
    typer.Option(
        metavar="at_most_once|at_least_once|exactly_once",
        help="What counts more when something fails; what the target is set to, if left out.",
    ),
]

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Deliver nothing, and tell what each stage of the gateway would say."),
]
Pick = Annotated[
    str,
    typer.Option(
        metavar="best|one|least-loaded|all",
        help="Whom of those that a capability or a route leads to; best, as the policy says, if left out.",
    ),
]


def parse_pick(text: str) -> PickName:
    """Whom to pick of several.

    Raises:
        UsageError: It is none of the ways.
    """
    for name in PICKS:
        if text == name:
            return name
    raise UsageError(f"--pick: {text!r} is none of {', '.join(PICKS)}")
