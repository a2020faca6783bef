"""Whether an agent's token is the one of its registration, and counts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.errors import AgentNotFound, TokenExpired, TokenInvalid, TokenRevoked
from mas_core.model.registration import Registration
from mas_core.store.contract import AgentStreams


async def check_token(store: AgentStreams, key_id: str, now_ms: Callable[[], int]) -> None:
    """Compare a token with the registration.

    Args:
        store: The agent's.
        key_id: Names the token.
        now_ms: The server's clock, in Unix milliseconds.

    Raises:
        AgentNotFound: The agent is not registered.
        TokenInvalid: The token is not the agent's.
        TokenExpired, TokenRevoked: It was.
        StoreUnreachable: The server does not answer.
    """
    agent_id = store.agent_id
    text = (await store.registration()).get("record")
    if text is None:
        raise AgentNotFound(
            f"Agent not found: {agent_id} is not registered",
            hint=f"mas agent register {agent_id}",
        )
    registration = msgspec.json.decode(text, type=Registration)
    key = next((key for key in registration.keys if key.key_id == key_id), None)
    hint = f"mas agent token rotate {agent_id}"
    if key is None:
        raise TokenInvalid(f"Authentication failed: this token is not the one of {agent_id}", hint=hint)
    if key.revoked:
        raise TokenRevoked(
            f"Authentication failed: the token of {agent_id} was revoked",
            hint=(f"mas agent describe {agent_id}", hint),
        )
    if not key.is_valid(now_ms()):
        raise TokenExpired(f"Authentication failed: the token of {agent_id} has expired", hint=hint)
