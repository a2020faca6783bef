"""`python -m mas_core.server`: the server of the project that the environment leads to.

SIGTERM or SIGINT sends its agents to another one; a second one ends it at once. With `--until-input-ends` it also
ends when its standard input does: whoever started it is gone then.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys

# What gRPC's core says of handshakes is recorded, so it has to say it.
os.environ["GRPC_VERBOSITY"] = "INFO"

from mas_core.base.stop_signals import run_service
from mas_core.server.handshakes import GrpcLog
from mas_core.server.process import place_of, serve
from mas_core.settings.target import resolve_target


def main() -> int:
    """Run the server until it is told to stop; returns the exit code."""
    grpc_log = GrpcLog()
    return run_service(functools.partial(_serve, grpc_log), "server.failed", ends_at_second=True)


async def _serve(grpc_log: GrpcLog, stop: asyncio.Event) -> None:
    target = resolve_target()
    await serve(target, place_of(target), stop, grpc_log=grpc_log)


if __name__ == "__main__":
    sys.exit(main())
