"""Real servers for tests: one for the whole run, and private ones that a test may kill."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from mas_core.store.embedded_server import EmbeddedServer


@asynccontextmanager
async def embedded_server(profile: str = "fast") -> AsyncIterator[EmbeddedServer]:
    """A running server over a folder of its own, which goes with it; it comes back fast when killed."""
    with tempfile.TemporaryDirectory(prefix="mas-test-") as folder:
        root = Path(folder)
        async with EmbeddedServer(
            root / "server", root / "run", root / "keys", profile=profile, restart_base_s=0.1
        ) as server:
            yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_url() -> AsyncIterator[str]:
    """URL of the server that all tests share; namespaces keep them apart."""
    async with embedded_server() as server:
        yield server.url


@pytest.fixture(params=["memory", "server"])
def any_url(request: pytest.FixtureRequest) -> str:
    """URL of the in-process fake, then of a real server."""
    return "memory://" if request.param == "memory" else request.getfixturevalue("server_url")


@pytest.fixture(params=["memory", "server", "grpcs", "cluster"])
def every_url(request: pytest.FixtureRequest) -> str:
    """URL of the in-process fake, of a real server, the same through a server of agents, and of a Cluster."""
    if request.param == "grpcs":
        return "grpcs+" + str(request.getfixturevalue("server_url"))
    if request.param == "cluster":
        return str(request.getfixturevalue("cluster").url)
    return "memory://" if request.param == "memory" else request.getfixturevalue("server_url")
