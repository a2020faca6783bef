"""`mas up` and `mas down`: a project with all that it needs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mas_cli.connection import required_project
from mas_cli.input.shared_flags import SharedFlags
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import ConfigurationError, UsageError
from mas_core.settings.project import Project, project_at
from mas_core.settings.project_config import load_config

Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Folder of the project; found from here if left out."),
]
_PROFILES = ("fast", "durable", "ha")


def up(
    call: Invocation,
    *,
    folder: Folder = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(_PROFILES),
            help="What a receipt waits for: the commit, the disk, a replica. As in mas.yaml if left out.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready, and leave it running.")
    ] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart agents when their spec or module changes.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on although the server cannot keep what the profile promises."),
    ] = False,
    hardened: Annotated[
        bool,
        typer.Option(
            "--hardened", help="Users of the server with few rights for everybody, and no default one."
        ),
    ] = False,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure", help="Agents go through a server under mutual TLS and never reach Redis (extra grpc)."
        ),
    ] = False,
) -> ExitCode:
    """Run the project: server, gateway and every agent of agents.d/.

    Without --url, and without a server in mas.yaml, an embedded server is started; all its data is in .mas/.
    `--url -` reads the URL from standard input, which keeps a password out of the list of processes.
    A server that cannot keep what the profile promises is refused, or, with --force, named by mas status.
    With --hardened the gateway, you and every agent come to the server as users of their own, and nobody as its
    default user, from then on; mas redis-users apply --default on takes that back.
    With --secure an authority for development and the certificates that are missing are made and renewed, and the
    agents' processes learn nothing of Redis. It stays so when mas up is typed without it; `transport: direct` in
    mas.yaml takes that back.
    Ctrl-C lets agents finish what they have in hand and ends everything. What agents print goes to
    .mas/logs/. --timeout says how long everything may take to get ready (60 s).
    """
    from mas_cli.welcome import Welcome
    from mas_core.ops.agent_runs import READY_SECONDS
    from mas_core.ops.background import up_detached
    from mas_core.ops.up import UpOptions
    from mas_core.ops.up import up as run

    if profile not in {None, *_PROFILES}:
        raise UsageError(f"--profile: {profile!r} is none of {', '.join(_PROFILES)}")
    project = _project(call.flags, folder)
    url = call.stdin.readline().strip() if call.flags.url == "-" else call.flags.url
    seconds = call.flags.timeout_seconds() or READY_SECONDS
    options = UpOptions(url, profile, reload, seconds, force, hardened=hardened, secure=secure)
    report = Welcome(call, load_config(project, options.settings), is_detached=detach)
    if detach:
        run_until_stopped(call, lambda _lifetime: up_detached(project, options, report))
        return ExitCode.OK

    async def work(lifetime: Lifetime) -> bool:
        report.lead(lifetime)
        return await run(project, options, lifetime.stop, report)

    return report.exit_code(drained=run_until_stopped(call, work))


async def down(call: Invocation, *, folder: Folder = None) -> ExitCode:
    """Stop what `mas up` runs; nothing running is no error.

    Agents finish what they have in hand. --timeout says how long that may take (60 s).
    """
    from mas_core.ops.background import DOWN_SECONDS
    from mas_core.ops.background import down as stop

    pid = await stop(_project(call.flags, folder), call.flags.timeout_seconds() or DOWN_SECONDS)
    text = f"Everything has ended (process {pid})." if pid else "Nothing was running."
    call.out.text(text, {"stopped": bool(pid), "pid": pid or None})
    return ExitCode.OK


def _project(flags: SharedFlags, folder: Path | None) -> Project:
    if folder is None:
        return required_project(flags)
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}", hint=f"mas init {shlex.quote(str(folder))}")
    return project_at(folder)
