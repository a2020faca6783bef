"""Arguments and flags of the commands about rules and policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mas_core.errors import UsageError

Sender = Annotated[str, typer.Argument(metavar="FROM", help="An agent; in rules also role:NAME or *.")]
Targets = Annotated[
    list[str], typer.Argument(metavar="TO", help="Agents, role:NAME, * or topic:, leader:, vote:, task:NAME.")
]
Target = Annotated[str, typer.Argument(metavar="TO", help="The agent that would get it, or a resource.")]
MessageType = Annotated[
    str, typer.Argument(metavar="TYPE", help="Type of the message; the type called message if left out.")
]
TypeGlob = Annotated[
    str, typer.Option("--type", metavar="GLOB", help="Message types, such as 'invoice.*'; all if left out.")
]
RuleAction = Annotated[
    str,
    typer.Option(
        metavar="ACTION", help="Only send, request, or what is done to a resource: publish, lead, ..."
    ),
]
AskedAction = Annotated[
    str,
    typer.Option(metavar="ACTION", help="send, request, or what is done to a resource; follows from TYPE."),
]
Both = Annotated[bool, typer.Option("--both", help="The same for the other direction.")]
Expires = Annotated[str | None, typer.Option(metavar="DUR", help="How long it counts; for ever if left out.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the rule.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]
PolicyPath = Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="A file like policy.yaml.")]


def required_file(file: str) -> Path:
    """The path that was given.

    Raises:
        UsageError: None was.
    """
    if not file:
        raise UsageError("which file?", hint="--file policy.yaml")
    return Path(file)
