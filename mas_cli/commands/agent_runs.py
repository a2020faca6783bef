"""`mas agent run`: agents of the project in the foreground, beside whatever runs already."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.connection import open_system, required_project
from mas_cli.input.addresses import listen_address
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import UsageError
from mas_core.settings.project_config import load_config


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
    health: Annotated[
        str, typer.Option(metavar="ADDR", help="Port or host:port for /health; as in mas.yaml if left out.")
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="--health: let other machines ask, without a password.")
    ] = False,
) -> ExitCode:
    """Run agents of agents.d/ in the foreground, in a system that runs already.

    They are registered first. Instances share the work with those that run elsewhere. Ctrl-C lets them finish
    what they have in hand. What they print goes to .mas/logs/. --timeout says how long they may take to get
    ready (60 s).
    """
    from mas_cli.welcome import note
    from mas_core.ops.agent_runs import READY_SECONDS, run_agents

    address = listen_address(health, "--health", allow_remote=allow_remote)
    specs = load_config(required_project(call.flags)).specs()
    if bool(names) == every:
        raise UsageError(
            "say which agents to run: their names, or --all",
            hint=(*(f"mas agent run {spec.agent_id}" for spec in specs[:1]), "mas agent run --all"),
        )
    wanted = {spec.agent_id: note(spec) for spec in specs if every or spec.agent_id in (names or ())}
    seconds = call.flags.timeout_seconds() or READY_SECONDS
    report = RunReport(call, wanted)

    async def work(lifetime: Lifetime) -> bool:
        report.lead(lifetime)
        async with open_system(call) as system:
            return await run_agents(
                system,
                names or (),
                lifetime.stop,
                report,
                reload=reload,
                ready_within=seconds,
                health=address,
            )

    return report.exit_code(drained=run_until_stopped(call, work))
