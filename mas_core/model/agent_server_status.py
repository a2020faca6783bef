"""What a server of agents says of itself, in its heartbeat in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec

AGENT_SERVER_EXPIRY_MS = 5_000
"""A server counts as running for this long after its last heartbeat."""


class AgentServerStatus(msgspec.Struct, frozen=True):
    """One server that agents reach instead of the store: the process of `mas server run`."""

    server_id: str
    seen: int
    """Unix milliseconds by the store's clock."""
    started: int
    host: str
    pid: int
    address: str
    """host:port at which it listens."""
    agents: int = 0
    """Agents that are connected, each counted once."""
    connections: int = 0
    refused: int = 0
    """How often it has let somebody not in, since it started."""
    certificate_starts: int = 0
    certificate_ends: int = 0
    """Of the certificate that it shows, in Unix milliseconds."""
    certificate_problem: str = ""
    """Why the files of its certificate cannot be used as they are now, so that the former go on."""
    is_draining: bool = False
    """Whether it sends its agents to another one and ends."""
    cpu_s: float = 0.0
    """Processor time that the whole process has used."""
    loop_lag_ms: int = 0
    """How late its event loop was at worst lately."""

    @property
    def state(self) -> str:
        """Serving or draining."""
        return "draining" if self.is_draining else "serving"

    def alarms(self, now: int) -> list[str]:
        """What is wrong and needs an operator, in words, at a moment in Unix milliseconds."""
        found = [self.certificate_problem] if self.certificate_problem else []
        if self.certificate_ends and self.certificate_ends <= now:
            found.append("its certificate has ended: no agent connects any more")
        return found

    def is_late(self, now: int) -> bool:
        """Whether less than a quarter of the certificate's life is left, and nobody has renewed it."""
        return self.certificate_ends - now < (self.certificate_ends - self.certificate_starts) / 4


def live_agent_servers(fields: Mapping[str, bytes], now: int) -> list[AgentServerStatus]:
    """The servers with a fresh heartbeat, by id."""
    found = []
    for text in fields.values():
        # One that cannot be read is of another version, or somebody else's.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(text, type=AgentServerStatus))
    return sorted(
        (item for item in found if item.seen + AGENT_SERVER_EXPIRY_MS > now), key=lambda item: item.server_id
    )
