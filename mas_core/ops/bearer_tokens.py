"""Bearer tokens for agents whose TLS a proxy ends before their server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mas_core.errors import SecretUnavailable
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.security.bearer_tokens import LIFETIME, issue_bearer, read_bearer
from mas_core.settings.private_files import private_dir, write_private

DEFAULT_LIFETIME_S = LIFETIME.total_seconds()


@dataclass(frozen=True, slots=True)
class IssuedBearer:
    """A bearer token that was made."""

    id: str
    """What revokes it, as the serial number of a certificate does."""
    agent_id: str
    ends: int
    """Unix milliseconds."""
    path: Path | None
    """Where it lies; None when it was asked to be shown."""
    text: str
    """The token itself when it was asked to be shown, else empty."""


async def issue_bearer_token(
    system: System,
    agent_id: str,
    *,
    lifetime: float = DEFAULT_LIFETIME_S,
    out: Path | None = None,
    show: bool = False,
) -> IssuedBearer:
    """Make a bearer token for an agent; servers take it where `server_bearer_addr` is set.

    Args:
        system: The system.
        agent_id: The only agent that it is for.
        lifetime: Seconds for which it counts.
        out: The private file that it goes to; AGENT.bearer in the folder of tokens when left out.
        show: Give it back instead of writing it.

    Raises:
        AgentNotFound: There is no such agent.
        UsageError: It would count too long, or hardly at all.
        SecretUnavailable: The keys of the gateways, or a place for it, are not at hand.
    """
    await require_agents(system, agent_id)
    now_ms = await system.store.connection.time_ms()
    period = timedelta(seconds=lifetime)
    namespace = system.store.namespace
    text = issue_bearer(system.keys, agent_id, namespace, now_ms=now_ms, lifetime=period)
    token = read_bearer(system.keys, text, namespace, now_ms=now_ms)
    path = None if show else out or _place(system, agent_id)
    with acting("server.token", agent_id):
        change = {"bearer": token.id, "ends": token.ends}
        async with system.operator_log.writing("certificate", agent_id, change=change, is_open=False):
            if path is not None:
                write_private(path, text.encode() + b"\n")
    return IssuedBearer(token.id, agent_id, token.ends, path, text if show else "")


def _place(system: System, agent_id: str) -> Path:
    if system.target.tokens_dir is None:
        raise SecretUnavailable(
            "no folder of tokens is known for this system",
            hint=(f"mas server token {agent_id} --out FILE", f"mas server token {agent_id} --show"),
        )
    return private_dir(system.target.tokens_dir) / f"{agent_id}.bearer"
