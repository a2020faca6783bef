"""Looks after the server beside the work: scripts that agents may not load, and what it refuses to its users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import InternalError, MasError
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.store.denials import Denial, DenialLog, What
from mas_core.store.server_users import AGENT_SCRIPTS
from mas_core.store.store import Store

log = get_logger(__name__)

INTERVAL_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""How long the same refusal is counted before it is told again, at most."""
REFUSED_S: Final = 60.0
"""How long nothing is asked for that the server did not permit: each refusal is itself an entry of its log."""


@dataclass(slots=True)
class _Repeated:
    due: float
    pause: float = INTERVAL_S
    held: Denial | None = None


class Repeats:
    """Puts the same refusal together that comes again and again: the first is told at once, others ever later."""

    def __init__(self) -> None:
        self._known: dict[What, _Repeated] = {}

    def due(self, denials: Sequence[Denial]) -> list[Denial]:
        """What is to be told now, of these and of what was held back."""
        now = time.monotonic()
        told = []
        for denial in denials:
            known = self._known.get(denial.what)
            if known is None:
                self._known[denial.what] = _Repeated(now + INTERVAL_S)
                told.append(denial)
            else:
                held = 0 if known.held is None else known.held.count
                known.held = replace(denial, count=denial.count + held)
        for what, known in list(self._known.items()):
            if known.due > now:
                continue
            if known.held is None:
                del self._known[what]
                continue
            told.append(known.held)
            known.held, known.pause = None, min(2 * known.pause, LONGEST_PAUSE_S)
            known.due = now + known.pause
        return told

    def rest(self) -> list[Denial]:
        """What was held back."""
        held = [known.held for known in self._known.values() if known.held is not None]
        self._known.clear()
        return held


class ServerWatch:
    """Runs beside a gateway.

    Args:
        store: The system.
        keys: The gateway's keys, which vouch for what is noticed.
        is_reader: Whether this gateway is the one that tells what was refused; one of all gateways is.
    """

    def __init__(self, store: Store, keys: GatewayKeys, is_reader: Callable[[], bool]) -> None:
        self._store = store
        self._is_reader = is_reader
        self._notices = SecurityNotices(store.records, keys, "gateway")
        self._denials: DenialLog | None = None
        self._repeats = Repeats()
        self._refused_until: dict[str, float] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, and then every second."""
        if self._store.connection.is_memory:
            return
        await self._look()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End, and write what was noticed."""
        if self._watching is None:
            return
        self._watching.cancel()
        await asyncio.wait([self._watching])
        self._watching = None
        for denial in self._repeats.rest():
            await self._tell(denial)
        await self._notices.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - the next look may go well
                log.error("server_watch.failed", trace=trace_of(error))

    async def _look(self) -> None:
        for name, step in (("scripts", self._keep_scripts), ("denials", self._tell_denials)):
            if time.monotonic() < self._refused_until.get(name, 0.0):
                continue
            try:
                await step()
            except InternalError as error:
                log.warning("server_watch.refused", step=name, reason=error.message)
                self._refused_until[name] = time.monotonic() + REFUSED_S
            except MasError as error:
                log.warning("store.unavailable", reason=error.message)

    async def _keep_scripts(self) -> None:
        await self._store.connection.keep_scripts(AGENT_SCRIPTS)

    async def _tell_denials(self) -> None:
        if not self._is_reader():
            self._denials = None
            return
        if self._denials is None:
            self._denials = DenialLog(self._store.connection, self._store.keys)
            self._repeats = Repeats()
        denials = await self._denials.read()
        for denial in self._repeats.due(denials):
            await self._tell(denial)
        if denials:
            await self._denials.note_read()

    async def _tell(self, denial: Denial) -> None:
        prefix = self._store.keys.server_user("")
        is_login = denial.reason == "auth"
        await self._notices.record(
            "login.refused" if is_login else "acl.denied",
            denial.user.removeprefix(prefix),
            {
                "user": denial.user,
                "refused": denial.reason,
                "object": denial.subject,
                "context": denial.context,
                "address": denial.address,
                "times": denial.count,
            },
            reason="the server did not let it in"
            if is_login
            else "the server refused what its user may not do",
        )
