"""Tells the store each second that a server runs, and how it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from mas_core.base.logs import get_logger
from mas_core.base.loop_lag import LoopLag
from mas_core.errors import MasError
from mas_core.model.agent_server_status import AgentServerStatus
from mas_core.security.certificate_files import CertificateFiles
from mas_core.server.service import Server
from mas_core.store.heartbeats import Heartbeats

log = get_logger(__name__)

BEAT_S: Final = 1.0


class Heartbeat:
    """What one server says of itself.

    Args:
        server_id: Its name.
        server: It.
        files: Those of its certificate.
    """

    def __init__(self, server_id: str, server: Server, files: CertificateFiles) -> None:
        self.is_draining = False
        self._server_id = server_id
        self._server = server
        self._files = files
        self._started = 0
        self._lag = LoopLag()

    @asynccontextmanager
    async def beating(self, heartbeats: Heartbeats) -> AsyncIterator[None]:
        """Within the block the store is told; the first time before it begins."""
        await heartbeats.beat(self._server_id, self._status)
        self._lag.start()
        task = asyncio.create_task(self._beat(heartbeats))
        try:
            yield
        finally:
            self._lag.stop()
            task.cancel()
            await asyncio.wait([task])
            with contextlib.suppress(MasError):
                await heartbeats.forget(self._server_id)

    async def _beat(self, heartbeats: Heartbeats) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await heartbeats.beat(self._server_id, self._status)
            except MasError as error:
                log.warning("store.unavailable", server=self._server_id, reason=error.message)

    def _status(self, now: int) -> bytes:
        self._started = self._started or now
        connected = self._server.connected
        shown = self._files.current().certificate
        return msgspec.json.encode(
            AgentServerStatus(
                self._server_id,
                now,
                self._started,
                socket.gethostname(),
                os.getpid(),
                self._server.address,
                len(set(connected)),
                len(connected),
                self._server.refused,
                int(shown.not_valid_before_utc.timestamp() * 1000),
                int(shown.not_valid_after_utc.timestamp() * 1000),
                self._files.problem,
                self.is_draining,
                time.process_time(),
                self._lag.worst_ms,
            )
        )
