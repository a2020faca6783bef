"""`make bench-peers`: install everything that is compared with, and say what cannot be."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.peers.installing import PACKAGES, NotInstalled, nats_server, python_of


async def main() -> int:
    failures = 0
    for name in (*PACKAGES, "nats-server"):
        try:
            where = await (nats_server() if name == "nats-server" else python_of(name))
            print(f"{name}: {where}", flush=True)
        except NotInstalled as reason:
            failures += 1
            print(f"{name}: not installed: {reason}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
