"""Runs a peer: one worker process, one producer process, the same work as everybody."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import msgspec

from benchmarks.peers.installing import nats_server, python_of
from benchmarks.peers.work import Job
from benchmarks.processes import ProcessFailed, Worker, worker
from mas_core.ops.bench.figures import Spread, spread

_numbers = itertools.count(1)
PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody to compare with."""

    name: str
    module: str
    package: str
    count: int
    """Messages of one run."""
    at_least: float
    """How many times faster we are to be."""

    @property
    def is_nats(self) -> bool:
        """Whether it needs the NATS server instead of ours."""
        return self.package == "nats"


PEERS = (
    Peer("FastStream on Redis streams", "faststream", "faststream", 10_000, 15),
    Peer("taskiq on Redis streams", "taskiq", "taskiq", 8_000, 15),
    Peer("arq", "arq", "arq", 4_000, 15),
    Peer("dramatiq", "dramatiq", "dramatiq", 8_000, 15),
    Peer("celery", "celery", "celery", 4_000, 15),
    Peer("nats-py with JetStream acks", "nats_jetstream", "nats", 30_000, 3),
    Peer("NATS core, which keeps nothing", "nats_core", "nats", 60_000, 0.5),
)
FASTSTREAM = PEERS[0]


class _Produced(msgspec.Struct):
    began_ns: int


class _Worked(msgspec.Struct):
    ended_ns: int
    times_ns: list[int]


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What one run gave."""

    rate_per_s: float
    """From the first sent to the last handled."""
    to_handler: Spread


async def run_peer(peer: Peer, url: str, count: int, rate: float = 0.0) -> PeerRun:
    """Send messages through a peer; raises NotInstalled or ProcessFailed when that does not go."""
    python = await python_of(peer.package)
    job = Job(url, f"peer{os.getpid()}n{next(_numbers)}", count, rate=rate)
    command = (str(python), "-m", f"benchmarks.peers.{peer.module}")
    text = json.dumps(asdict(job))
    async with (
        worker(peer.name, (*command, "work", text), grace_s=0.2) as working,
        worker(peer.name, (*command, "produce", text), grace_s=0.2) as producing,
    ):
        await producing.told(b"go")
        produced = msgspec.json.decode(await _result(producing), type=_Produced)
        worked = msgspec.json.decode(await _result(working), type=_Worked)
    return PeerRun(count / (worked.ended_ns - produced.began_ns) * 1e9, spread(worked.times_ns))


async def _result(process: Worker) -> bytes:
    while True:
        line = await process.heard(PATIENCE_S)
        if line.startswith(b"result "):
            return line.removeprefix(b"result ")


@asynccontextmanager
async def nats() -> AsyncIterator[str]:
    """A NATS server with JetStream for the time of the block; gives its URL.

    Raises:
        NotInstalled: There is none.
        ProcessFailed: It does not start.
    """
    program = await nats_server()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mas-bench-nats-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(program, "--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _until_open(port)
            yield f"nats://127.0.0.1:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_open(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise ProcessFailed("nats-server does not answer")
