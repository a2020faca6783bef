"""`python -m mas_core.audit`: the notary of the project that the environment leads to.

With `--until-input-ends` it also ends when its standard input does: whoever started it is gone then. While
another notary has the folder it waits, and takes over when that one ends.
"""

from __future__ import annotations

import asyncio
import os
import sys

from mas_core.base.stop_signals import run_service
from mas_core.ops.notary import serve_evidence
from mas_core.settings.target import resolve_target


def main() -> int:
    """Run the notary until it is told to stop; returns the exit code."""
    os.umask(0o077)
    return run_service(_serve, "notary.failed")


async def _serve(stop: asyncio.Event) -> None:
    await serve_evidence(resolve_target(), stop, is_waiting=True)


if __name__ == "__main__":
    sys.exit(main())
