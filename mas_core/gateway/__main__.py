"""`python -m mas_core.gateway`: a gateway of the project or server that the environment leads to.

SIGTERM or SIGINT drains it: batches in hand end with receipts, and its partitions go to the others. A second
one ends it at once; what it had in hand is then judged anew by the next owner.
A server that cannot keep what the system's profile promises is refused; with `--force` that is only logged.
With `--until-input-ends` it also drains when its standard input ends: whoever started it is gone then.
"""

from __future__ import annotations

import asyncio
import sys

from mas_core.base.stop_signals import run_service
from mas_core.gateway.process import serve
from mas_core.ops.health.endpoint import gateway_health
from mas_core.settings.target import resolve_target


def main() -> int:
    """Run the gateway until it is told to stop; returns the exit code."""
    return run_service(_serve, "gateway.failed", ends_at_second=True)


async def _serve(stop: asyncio.Event) -> None:
    target = resolve_target()
    async with gateway_health(target) as tell:
        await serve(target, stop, on_change=tell, force="--force" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
