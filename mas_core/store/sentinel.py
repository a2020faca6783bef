"""The wires to a master that sentinels name; they follow it through a fail-over.

(https://redis.io/docs/latest/develop/reference/sentinel-clients/)
A server counts as the master when more than half of the sentinels in the URL say so, and it says so itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mas_core.base.logs import get_logger
from mas_core.store.urls import Address
from mas_core.store.wire import ConnectionLost, NotSent, ServerError, Wire, Wires

ASK_S: Final = 1.0
"""How long a sentinel may take to answer."""
CONNECT_S: Final = 2.0

log = get_logger(__name__)


class SentinelWires(Wires):
    """The connections to the master of a service; used as `Wires` are.

    Args:
        options: User, password, database and TLS, for the servers.
        sentinels: Where the sentinels are.
        service: What they call the master.
        sentinel_options: User, password and TLS, for the sentinels.
        timeout: Seconds to wait for an answer beyond what a command may block.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        sentinels: Sequence[Address],
        service: str,
        sentinel_options: Mapping[str, Any],
        timeout: float,
    ) -> None:
        super().__init__(options, timeout, connect_timeout=min(CONNECT_S, timeout))
        self._service = service
        self._sentinels = [
            Wires({**sentinel_options, "host": host, "port": port}, ASK_S) for host, port in sentinels
        ]
        self._master: Address | None = None

    async def close(self) -> None:
        """Close all connections."""
        await super().close()
        for sentinel in self._sentinels:
            await sentinel.close()

    async def _address(self) -> Address:
        self._master = await self._ask()
        return self._master

    async def _introduce(self, wire: Wire) -> None:
        await super()._introduce(wire)
        (role,) = await wire.send([("ROLE",)])
        if isinstance(role, ServerError):
            raise role
        if role[0] != b"master":
            raise NotSent(f"{_shown(self._master)} is not the master of {self._service} any more")

    async def _look_around(self) -> None:
        """Leave a master that is none any more: nobody may have told us."""
        with contextlib.suppress(ConnectionLost, ServerError):
            if self._master is not None and (named := await self._ask()) != self._master:
                log.warning("master.changed", service=self._service, master=_shown(named))
                self.drop()

    async def _ask(self) -> Address:
        """The server that more than half of the sentinels name.

        Raises:
            NotSent: There is none.
        """
        votes: Counter[Address | None] = Counter()
        asking = [asyncio.create_task(self._vote(sentinel)) for sentinel in self._sentinels]
        try:
            for answer in asyncio.as_completed(asking):
                with contextlib.suppress(ConnectionLost, TimeoutError):
                    votes[await answer] += 1
                if votes and 2 * votes.most_common(1)[0][1] > len(asking):
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        named, count = votes.most_common(1)[0] if votes else (None, 0)
        if 2 * count <= len(asking):
            raise NotSent(
                f"of {len(asking)} sentinels {votes.total()} answered, and no majority names a master"
            )
        if named is None:
            raise NotSent(f"the sentinels know no master named {self._service}")
        return named

    async def _vote(self, sentinel: Wires) -> Address | None:
        async with asyncio.timeout(ASK_S):
            (reply,) = await sentinel.execute([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)])
        if isinstance(reply, ServerError):
            raise reply
        return (reply[0].decode(errors="replace"), int(reply[1])) if reply else None


def _shown(address: Address | None) -> str:
    return f"{address[0]}:{address[1]}" if address else "the server"
