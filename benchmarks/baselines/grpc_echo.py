"""The least that gRPC costs here: one bidirectional stream under mutual TLS that sends back what it gets.

`grpc_echo.py serve` says `ready` and its port; `grpc_echo.py call` reads an `EchoLaunch` and tells an `EchoReport`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import msgspec

from mas_core.base.event_loop import run
from mas_core.base.stop_signals import told_to_stop

METHOD = "/echo.Echo/Call"


class EchoLaunch(msgspec.Struct, frozen=True):
    """What is called, and how often."""

    folder: str
    """Where the certificates lie."""
    port: int
    cert: str
    count: int
    size: int
    """Bytes of each message."""
    in_flight: int = 1
    rate: float = 0.0
    """Calls a second; 0 for one right after the other."""


class EchoReport(msgspec.Struct, frozen=True):
    """How long it took."""

    seconds: float
    times_ns: list[int]


async def serve(folder: Path) -> None:
    """Send back until the input ends."""

    async def echo(calls: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        async for call in calls:
            yield call

    shown = (folder / "server-localhost.pem").read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(shown, shown)], (folder / "ca.pem").read_bytes(), require_client_auth=True
    )
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Call": handler}),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    sys.stdout.write(f"ready\n{port}\n")
    sys.stdout.flush()
    await told_to_stop(until_input_ends=True).wait()
    await server.stop(0)


async def call(launch: EchoLaunch, own: bytes, authorities: bytes) -> EchoReport:
    """Keep so many calls in flight."""
    credentials = grpc.ssl_channel_credentials(authorities, own, own)
    body = b"x" * launch.size
    times: list[int] = []
    async with grpc.aio.secure_channel(f"localhost:{launch.port}", credentials) as channel:
        stream = channel.stream_stream(METHOD)()
        began = time.monotonic()
        if launch.rate:
            for number in range(launch.count):
                while (ahead := began + number / launch.rate - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                sent = time.monotonic_ns()
                await stream.write(body)
                await stream.read()
                times.append(time.monotonic_ns() - sent)
        else:
            room = asyncio.Semaphore(launch.in_flight)

            async def write() -> None:
                for _ in range(launch.count):
                    await room.acquire()
                    await stream.write(body)

            writing = asyncio.create_task(write())
            for _ in range(launch.count):
                await stream.read()
                room.release()
            await writing
        return EchoReport(time.monotonic() - began, times)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        run(serve(Path(sys.argv[2])))
    else:
        told = msgspec.json.decode(sys.stdin.buffer.readline(), type=EchoLaunch)
        _say(b"ready")
        ca = (Path(told.folder) / "ca.pem").read_bytes()
        _say(msgspec.json.encode(run(call(told, Path(told.cert).read_bytes(), ca))))
