"""`mas record`: what the gateway decides, in a file that can be played again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.following import ending
from mas_cli.input.replay_flags import parse_size
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.ops.recordings import Recorded

_COLUMNS = (
    Column("path"),
    Column("count", kind="number"),
    Column("gaps", kind="number"),
    Column("missed", kind="number"),
    Column("bytes", kind="number"),
    Column("seconds", kind="duration"),
)


async def record(
    call: Invocation,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write; it must not be there.")],
    duration: Annotated[str | None, typer.Option("--for", metavar="DUR", help="End after this time.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="End when the file is so large, such as 100MB.")
    ] = None,
) -> ExitCode:
    """Write what the gateway decides to a file, from now on, until Ctrl-C.

    The file can be looked at again with `mas tui --replay` and `mas watch --replay`, on any machine. It holds who
    sent what type to whom and what was decided, and no payloads; only its owner can read it.
    """
    end = ending(None, duration)
    max_bytes = 0 if size is None else parse_size(size)
    async with open_system(call) as system:
        from mas_core.ops.recordings import Recorder

        recorder = Recorder(system, out, max_bytes=max_bytes)
        call.talk.count(f"recording {system.target.name} to {out}, Ctrl-C ends it")
        try:
            async with asyncio.timeout(end.seconds) as limit:
                await recorder.run()
        except TimeoutError:
            if not limit.expired():
                raise
        except asyncio.CancelledError:
            call.talk.end_line()
            _tell(call, recorder.recorded)
            raise
        _tell(call, recorder.recorded)
    return ExitCode.OK


def _tell(call: Invocation, found: Recorded) -> None:
    if found.missed:
        call.talk.warn(f"{found.missed} were gone before they could be recorded")
    call.out.record(
        _COLUMNS,
        {
            "path": str(found.path),
            "count": found.count,
            "gaps": found.gaps,
            "missed": found.missed,
            "bytes": found.bytes,
            "seconds": round(found.seconds, 3),
        },
    )
    call.out.flush()
