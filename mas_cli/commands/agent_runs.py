"""`mas agent run`: agents of the project in the foreground, beside whatever runs already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mas_cli.connection import open_system, required_project
from mas_cli.input.addresses import listen_address
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import UsageError


def run(
    call: Invocation,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Ids of agents that have a spec.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Run all agents of the project.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart agents when their spec or module changes.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Folder of their specs, instead of that of the project."),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many of each; as its spec says if left out.")
    ] = None,
    max_messages: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End once they have handled so many together.")
    ] = None,
    drain: Annotated[
        str, typer.Option(metavar="DUR", help="How long each may finish what it has in hand.")
    ] = "20s",
    health: Annotated[
        str, typer.Option(metavar="ADDR", help="Port or host:port for /health; as in mas.yaml if left out.")
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="--health: let other machines ask, without a password.")
    ] = False,
) -> ExitCode:
    """Run agents of agents.d/ in the foreground, in a system that runs already.

    They are registered first. Instances share the work with those that run elsewhere. Ctrl-C lets them finish
    what they have in hand; exit code 8 when --drain was too short for that. What they print goes to .mas/logs/.
    --max-messages counts what the agents handle wherever they run, and what is in hand by then is finished too.
    --timeout says how long they may take to get ready (60 s).
    """
    from mas_cli.welcome import note
    from mas_core.ops.agent_runs import READY_SECONDS, RunTerms, run_agents
    from mas_core.ops.spec_choice import SpecChoice

    address = listen_address(health, "--health", allow_remote=allow_remote)
    project = required_project(call.flags)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--dir: {folder} is no folder")
    choice = SpecChoice(tuple(names or ()), folder and folder.resolve(), instances)
    if bool(names) == every:
        specs = choice.load(project).every
        raise UsageError(
            "say which agents to run: their names, or --all",
            hint=(*(f"mas agent run {spec.agent_id}" for spec in specs[:1]), "mas agent run --all"),
        )
    terms = RunTerms(
        reload=reload,
        ready_within=call.flags.timeout_seconds() or READY_SECONDS,
        health=address,
        max_messages=max_messages,
        drain_s=parse_duration(drain, "--drain"),
    )
    report = RunReport(call, {spec.agent_id: note(spec) for spec in choice.load(project).chosen})

    async def work(lifetime: Lifetime) -> bool:
        report.lead(lifetime)
        async with open_system(call) as system:
            return await run_agents(system, choice, lifetime.stop, report, terms)

    return report.exit_code(drained=run_until_stopped(call, work))
