"""`mas backup`: a system in one file, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import opened, project_of, target_of
from mas_cli.input.passphrases import passphrase_of
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.progress import Progress
from mas_core.errors import SecretUnavailable, StoreUnreachable, UsageError
from mas_core.settings.contexts import ContextStore

if TYPE_CHECKING:
    from mas_core.ops.backup.contents import Manifest, Part
    from mas_core.ops.backup.plan import Plan
    from mas_core.ops.system import System

KEPT = ("agents", "policy", "states", "later", "dead", "circuits")


def _coloured(state: object) -> Style:
    return {"ok": "good", "bad": "bad"}.get(str(state), "warn")  # type: ignore[return-value]


_MADE = (
    Column("path", flexible=True),
    Column("made", kind="time"),
    *(Column(part, kind="number") for part in KEPT),
    Column("keys"),
    Column("bytes", kind="number"),
)
_LISTED = (*_MADE, Column("namespace"), Column("problem", flexible=True, usual=""))
_CHECKS = (Column("check"), Column("state", style=_coloured), Column("detail", flexible=True))
_RESTORED = (
    Column("part"),
    Column("in_backup", header="in the backup", kind="number"),
    Column("restored", kind="number"),
    Column("left", header="left out", kind="number"),
)
_PLANNED = (
    Column("part"),
    Column("in_backup", header="in the backup", kind="number"),
    Column("there", header="there now", kind="number"),
)

PassphraseFile = Annotated[
    str,
    typer.Option("--passphrase-file", metavar="FILE", help="A private file whose first line is it."),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="The file, or its name as in mas backup list.")]


async def create(
    call: Invocation,
    *,
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Where to; a new file in .mas/backups if left out.")
    ] = "",
    keys: Annotated[
        bool, typer.Option("--keys", help="Private keys and tokens too, encrypted under a passphrase.")
    ] = False,
    passphrase_file: PassphraseFile = "",
) -> ExitCode:
    """Write a backup while everything runs: registry, policy, states, dead letters, messages for later.

    It is one file, readable for its owner only, whole or not there, and carries the MAC of the gateway's key.
    Private keys and tokens are in it only with --keys. Messages that are on their way and the audit are not: of the
    audit it knows how far it was. Where the project's embedded server does not run it is started meanwhile.
    """
    if passphrase_file and not keys:
        raise UsageError(
            "a passphrase is for the keys", hint="mas backup create --keys --passphrase-file FILE"
        )
    passphrase = passphrase_of(call, passphrase_file, is_new=True) if keys else ""
    async with _system(call) as system:
        from mas_core.ops.backup import create as backups

        path = Path(out) if out else await backups.default_path(system)
        with Progress(call.talk, 0, "things") as progress:
            manifest = await backups.create(system, path, passphrase=passphrase, on_progress=progress)
    call.out.record(_MADE, _row(path, path.stat().st_size, manifest))
    if not keys:
        call.talk.say("private keys and tokens are not in it: keep .mas/keys and .mas/tokens, or say --keys")
    if manifest.frames or manifest.undelivered:
        call.talk.say(
            f"on their way, and in no backup: {manifest.frames:,} frames for a gateway, "
            f"{manifest.undelivered:,} messages for agents"
        )
    if manifest.ignored:
        call.talk.warn(f"{manifest.ignored:,} things that no gateway of this system wrote were left out")
    return ExitCode.OK


def verify(call: Invocation, file: File, *, passphrase_file: PassphraseFile = "") -> ExitCode:
    """Look at everything in a backup, without a server: MAC, digests, every line, and the position of the audit.

    The gateway's key of the system has to be at hand, or be in the backup and opened with the passphrase.
    """
    from mas_core.ops.backup.files import find_backup
    from mas_core.ops.backup.verify import verify_file

    project = project_of(call.flags)
    with Progress(call.talk, 0, "lines") as progress:
        found = verify_file(
            find_backup(file, project),
            project=project,
            keys_dir=_keys_dir(call),
            passphrase=passphrase_of(call, passphrase_file) if passphrase_file else "",
            on_progress=progress,
        )
    call.out.records(
        _CHECKS, [{"check": item.check, "state": item.state, "detail": item.detail} for item in found]
    )
    return ExitCode.NO if any(item.state == "bad" for item in found) else ExitCode.OK


async def restore(
    call: Invocation,
    file: File,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="The system may hold something: what the backup has is replaced.")
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="PART", help=f"Leave out: {', '.join(KEPT)}.")
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="First put back the private keys and tokens that are missing here.")
    ] = False,
    passphrase_file: PassphraseFile = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, change nothing, and tell what would be.")
    ] = False,
) -> ExitCode:
    """Put a backup back into an empty system; interrupted, the same command goes on.

    What was revoked, removed, retried, dropped or decided after the backup stays so, as far as the evidence folder
    knows. The audit never goes back: it goes on where the evidence ends. With --force a system that is not empty
    gets back what the backup has, and keeps what it has besides. Where the project's embedded server does not run
    it is started meanwhile, which is best: mas up on an empty server makes new tokens.
    """
    parts = _parts(without or [])
    if passphrase_file and not keys:
        raise UsageError("a passphrase is for the keys", hint=f"mas backup restore {file} --keys")
    if keys and not dry_run:
        _put_keys(call, file, passphrase_file)
    async with _system(call) as system:
        from mas_core.ops.backup.backup_file import BackupReader
        from mas_core.ops.backup.files import find_backup
        from mas_core.ops.backup.plan import plan, require_room, there_of, warnings_of
        from mas_core.ops.backup.restore import check_contents
        from mas_core.ops.backup.restore import restore as put_back

        with BackupReader(find_backup(file, project_of(call.flags))) as reader:
            planned = await plan(system, reader)
            if dry_run:
                with Progress(call.talk, 0, "lines") as progress:
                    check_contents(system, reader, planned.manifest, progress)
                call.out.records(_PLANNED, _planned_rows(planned))
            require_room(planned, force=force, file=file)
            for text in warnings_of(planned):
                call.talk.warn(text)
            if dry_run:
                call.talk.say("nothing was changed yet")
                return ExitCode.OK
            if not planned.there.is_empty and not planned.is_resumed:
                call.ask.named(f"this replaces parts of {there_of(planned.there)}", system.store.namespace)
                await _keep_what_is_there(call, system)
            total = 2 * sum(facts.lines for facts in planned.manifest.parts.values())
            with Progress(call.talk, total, "lines") as progress:
                done = await put_back(
                    system, reader, planned, force=force, without=parts, on_progress=progress
                )
    call.out.records(
        _RESTORED,
        [
            {
                "part": part,
                "in_backup": done.manifest.parts[part].lines,
                "restored": done.restored[part],
                "left": done.left[part],
            }
            for part in KEPT
        ],
    )
    if done.revoked:
        call.talk.warn(
            f"tokens of {', '.join(sorted(set(done.revoked))[:20])} were revoked after the backup and stay so: "
            "mas agent token rotate AGENT"
        )
    return ExitCode.OK


def list_backups(
    call: Invocation,
    *,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where they are; .mas/backups if left out.")
    ] = None,
) -> ExitCode:
    """List backups, the newest first; one that was changed or is another system's has a problem."""
    from mas_core.ops.backup import files
    from mas_core.ops.backup.create import FOLDER

    project = project_of(call.flags)
    if folder is None and project is None:
        raise UsageError("no project is at hand, so say where the backups are", hint="--folder DIR")
    place = folder if folder is not None or project is None else project.data_dir / FOLDER
    found = files.list_backups(place or Path(), _keys_dir(call))
    call.out.records(_LISTED, [_row(item.path, item.size, item.manifest, item.problem) for item in found])
    if not all(item.is_checked or item.problem for item in found):
        call.talk.warn("the gateway's key is not at hand, so what they say of themselves is not checked")
    return ExitCode.OK


@asynccontextmanager
async def _system(call: Invocation) -> AsyncIterator[System]:
    """The system of a call; where a project's own server does not run, that is started for the time."""
    try:
        target = target_of(call.flags)
    except StoreUnreachable:
        project = project_of(call.flags)
        if project is None or call.flags.url:
            raise
        from mas_core.ops.backup.stopped_server import stopped_server

        async with stopped_server(project) as target:
            call.talk.say("nothing runs here, so the server is started for this alone")
            async with opened(call, target) as system:
                yield system
        return
    async with opened(call, target) as system:
        yield system


async def _keep_what_is_there(call: Invocation, system: System) -> None:
    """A backup of what a restore is about to replace, so that there is a way back."""
    from mas_core.ops.backup import create as backups

    if system.target.project is None:
        return
    path = await backups.default_path(system)
    await backups.create(system, path)
    call.talk.say(f"what is there now is kept in {path}")


def _parts(names: list[str]) -> list[Part]:
    found: list[Part] = []
    for name in names:
        if name not in KEPT:
            raise UsageError(f"a backup has no part {name!r}", hint=f"--without {'|'.join(KEPT)}")
        found.append(name)  # type: ignore[arg-type]
    return found


def _put_keys(call: Invocation, file: str, passphrase_file: str) -> None:
    from mas_core.ops.backup.backup_file import BackupReader
    from mas_core.ops.backup.files import find_backup
    from mas_core.ops.backup.sealed_keys import gateway_keys_in, open_keys, put_keys

    project, keys_dir = project_of(call.flags), _keys_dir(call)
    if keys_dir is None:
        raise SecretUnavailable("no folder of keys is known", hint="run it in the project folder")
    with BackupReader(find_backup(file, project)) as reader:
        files = open_keys(reader.sealed_keys(), passphrase_of(call, passphrase_file))
        made_with = gateway_keys_in(files)
        reader.manifest(made_with, made_with.key_id)
        written = put_keys(files, keys_dir, project.tokens_dir if project is not None else None)
    call.talk.say(f"{len(written)} of {len(files)} files with keys and tokens were missing and are back")


def _keys_dir(call: Invocation) -> Path | None:
    if call.flags.context and (named := ContextStore().get(call.flags.context).keys_dir):
        return named
    project = project_of(call.flags)
    return project.keys_dir if project is not None else None


def _row(path: Path, size: int, manifest: Manifest | None, problem: str = "") -> Record:
    row: dict[str, object] = {"path": str(path), "bytes": size, "problem": problem}
    if manifest is None:
        return row
    return {
        **row,
        "backup": manifest.id,
        "made": moment(manifest.ended),
        "by": manifest.by,
        "namespace": manifest.namespace,
        "partitions": len(manifest.partitions),
        **{name: facts.lines for name, facts in manifest.parts.items()},
        "keys": manifest.keys is not None,
        "left_out": manifest.ignored,
    }


def _planned_rows(planned: Plan) -> list[Record]:
    there = planned.there
    now = {
        "agents": there.agents,
        "policy": int(there.policy > 0),
        "states": there.states,
        "later": there.later,
        "dead": there.dead_letters,
        "circuits": there.circuits,
    }
    return [
        {"part": part, "in_backup": planned.manifest.parts[part].lines, "there": now[part]} for part in KEPT
    ]
