"""Bearer tokens, whose words are read as if their MAC were right."""

from __future__ import annotations

from datetime import timedelta

from mas_core.base.ids import check_agent_id
from mas_core.errors import TokenExpired, TokenInvalid
from mas_core.security.bearer_tokens import issue_bearer, read_bearer

NOW = 1_795_000_000_000


class Gullible:
    """Takes every MAC, so that what stands behind it is reached."""

    def mac(self, _purpose: str, _data: bytes) -> bytes:
        """One for all."""
        return b"m" * 32

    def check_mac(self, _purpose: str, _data: bytes, mac: bytes) -> bool:
        """Anything but none."""
        return bool(mac)


def read_any_bearer(data: bytes) -> None:
    """What comes in a header: a token for an agent of this system that has not ended, or refused."""
    try:
        token = read_bearer(Gullible(), data.decode("latin-1"), "mas", now_ms=NOW)
    except (TokenInvalid, TokenExpired):
        return
    assert token.system == "mas"
    assert token.ends > NOW
    assert check_agent_id(token.agent)


def bearer_seeds() -> list[bytes]:
    """One that counts, one that has ended, one for elsewhere."""
    hour = timedelta(hours=1)
    return [
        issue_bearer(Gullible(), "alice", "mas", now_ms=NOW, lifetime=hour).encode(),
        issue_bearer(Gullible(), "alice", "mas", now_ms=NOW // 2, lifetime=hour).encode(),
        issue_bearer(Gullible(), "alice", "other", now_ms=NOW, lifetime=hour).encode(),
    ]
