"""A server as a process of its own in front of a system of a test, and everything that it logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .serving import TRUST_DOMAIN, Certificates
from .systems import LiveSystem
from .waiting import until

SERVER_FILE = "server-localhost.pem"


@dataclass
class ServerProcess:
    """A server that runs, and the authority that it trusts."""

    system: LiveSystem
    certificates: Certificates
    address: str = "127.0.0.1:0"
    settings: Mapping[str, object] = field(default_factory=dict)
    """More of its mas.yaml."""
    lines: list[str] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    @property
    def url(self) -> str:
        """Where agents find it."""
        return f"grpcs://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> list[dict[str, object]]:
        """What it has logged; every line is one JSON object."""
        return [json.loads(line) for line in self.lines]

    def rss_kib(self) -> int:
        """Memory that it has in use now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    async def start(self) -> None:
        """Start it, at the address where it was before; ready when this returns."""
        project = self.system.folder
        config = {
            "profile": "fast",
            "namespace": self.system.store.namespace,
            "partitions": self.system.store.partitions,
            "trust_domain": TRUST_DOMAIN,
            "server_listen_addr": self.address,
            "tls_ca_path": str(self.certificates.ca_path),
            "tls_server_cert_path": str(self.certificates.folder / SERVER_FILE),
            "tls_server_key_path": str(self.certificates.folder / SERVER_FILE),
            **self.settings,
        }
        (project / "mas.yaml").write_text(json.dumps(config))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MAS_")}
        process = self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mas_core.server",
            cwd=project,
            env={**environ, "MAS_URL": self.system.system.target.url},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )  # fmt: skip
        begun = len(self.lines)
        self._reading = asyncio.create_task(self._read(process))

        def ready() -> str:
            found = [line for line in self.lines[begun:] if '"server.ready"' in line]
            if process.returncode is not None and not found:
                raise AssertionError("the server did not start: " + "".join(self.lines[begun:]))
            return str(json.loads(found[0])["address"]) if found else ""

        self.address = str(await until(ready, 30))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            self.lines.append(line.decode())

    async def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self._ended()

    async def stop(self) -> int:
        """Have it end in order; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return await self._ended()

    async def _ended(self) -> int:
        assert self.process is not None
        assert self._reading is not None
        code = await self.process.wait()
        await self._reading
        return code


@asynccontextmanager
async def server_process(system: LiveSystem, **settings: object) -> AsyncIterator[ServerProcess]:
    """A running server; killed when this ends."""
    certificates = Certificates.make(system.folder / "certs")
    certificates.issue("server", "localhost", ("127.0.0.1",))
    server = ServerProcess(system, certificates, settings=settings)
    try:
        await server.start()
        yield server
    finally:
        if server.process is not None:
            await server.kill()
