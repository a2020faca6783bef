"""The server of a project that does not run, for as long as a backup is made or put back.

A restore is best done before anything else runs: `mas up` on an empty server would register agents anew and
replace the tokens at hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mas_core.errors import StoreUnreachable
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.running_context import claimed
from mas_core.settings.target import Target, resolve_target
from mas_core.store.embedded_server import EmbeddedServer


@asynccontextmanager
async def stopped_server(project: Project) -> AsyncIterator[Target]:
    """Start the project's embedded server, without gateway and agents, and end it with the block.

    Raises:
        LockHeld: The project runs.
        StoreUnreachable: The project has a server of its own, or this one does not start.
    """
    with claimed(project):
        loaded = load_config(project)
        if loaded.url is not None:
            raise StoreUnreachable("the project's own server has to be started first", hint="mas status")
        profile = loaded.config.profile
        async with EmbeddedServer(
            project.server_dir, project.run_dir, project.keys_dir, profile=profile
        ) as server:
            yield resolve_target(config=project.config_path, url=server.url)
