"""`python -m mas_core.server`: the server of the project that the environment leads to.

SIGTERM or SIGINT sends its agents to another one; a second one ends it at once. With `--until-input-ends` it also
ends when its standard input does: whoever started it is gone then. `--listen=HOST:PORT` is where it listens
instead of where the settings say.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Final

from mas_core.base.stop_signals import run_service
from mas_core.server.handshakes import GrpcLog
from mas_core.settings.target import resolve_target

LISTEN: Final = "--listen="


def main() -> int:
    """Run the server until it is told to stop; returns the exit code."""
    grpc_log = GrpcLog()
    try:
        return run_service(functools.partial(_serve, grpc_log), "server.failed", ends_at_second=True)
    finally:
        grpc_log.close()


async def _serve(grpc_log: GrpcLog, stop: asyncio.Event) -> None:
    from mas_core.server.place import place_of  # noqa: PLC0415
    from mas_core.server.process import serve  # noqa: PLC0415 - loads gRPC, which is told before what to say

    target = resolve_target()
    place = place_of(target, _listen_address())
    await serve(target, place, stop, grpc_log=grpc_log)


def _listen_address() -> str:
    """The value of `--listen=HOST:PORT`; empty without it."""
    found = [word.removeprefix(LISTEN) for word in sys.argv[1:] if word.startswith(LISTEN)]
    return found[-1] if found else ""


if __name__ == "__main__":
    sys.exit(main())
