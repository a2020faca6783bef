"""Flags that choose and show messages, shared by the commands about them."""

from __future__ import annotations

from typing import Annotated

import typer

Sender = Annotated[str, typer.Option("--from", metavar="AGENT", help="Only from this agent.")]
Target = Annotated[str, typer.Option("--to", metavar="AGENT", help="Only to this agent.")]
WithPayload = Annotated[
    bool, typer.Option("--payload", help="With the payload; what the policy takes out is not in it.")
]
