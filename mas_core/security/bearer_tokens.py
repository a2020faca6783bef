"""Bearer tokens: who calls a server of agents behind a proxy that ends TLS, so that no certificate arrives.

A token is `masb_`, what it says, a dot, and the MAC of all before it under the keys of the gateways; both parts
are base64url. There is one algorithm, and the MAC is made sure of before anything of a token is read. It counts
for one agent, at the servers of one system, until it ends or its id is revoked as certificates are.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import timedelta
from typing import Final, Protocol

import msgspec

from mas_core.base.ids import check_agent_id
from mas_core.errors import InvalidIdentifier, TokenExpired, TokenInvalid, UsageError

PREFIX: Final = "masb_"
PURPOSE: Final = "bearer"
MAX_TEXT: Final = 1024
LIFETIME: Final = timedelta(hours=1)
MIN_LIFETIME: Final = timedelta(seconds=1)
MAX_LIFETIME: Final = timedelta(days=30)


class Macs(Protocol):
    """What vouches for tokens."""

    def mac(self, purpose: str, data: bytes) -> bytes:
        """The MAC of data."""

    def check_mac(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether this is the MAC of data."""


class BearerToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says."""

    id: str
    """16 hex digits, the first not 0: revocations name it as they name the numbers of certificates."""
    agent: str
    system: str
    """Namespace of the system whose servers take it."""
    ends: int
    """Unix milliseconds."""


_DECODER = msgspec.json.Decoder(BearerToken)


def issue_bearer(macs: Macs, agent_id: str, system: str, *, now_ms: int, lifetime: timedelta) -> str:
    """A new token.

    Args:
        macs: The keys of the gateways.
        agent_id: The only agent that it is for.
        system: Namespace of the system.
        now_ms: Unix milliseconds.
        lifetime: How long it counts.

    Raises:
        InvalidIdentifier: No agent can have this id.
        UsageError: It would count too long, or hardly at all.
    """
    if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
        raise UsageError(
            f"a bearer token counts for a second to {MAX_LIFETIME.days} days", hint="--expires 1h"
        )
    ends = now_ms + int(lifetime.total_seconds() * 1000)
    token = BearerToken(format(secrets.randbits(63) | 1 << 63, "x"), check_agent_id(agent_id), system, ends)
    signed = PREFIX + _text(msgspec.json.encode(token))
    return f"{signed}.{_text(macs.mac(PURPOSE, signed.encode()))}"


def read_bearer(macs: Macs, text: str, system: str, *, now_ms: int) -> BearerToken:
    """What a token says, once its MAC was made sure of.

    Raises:
        TokenInvalid: It is none, was changed, comes from elsewhere, or is for another system.
        TokenExpired: It has ended.
    """
    invalid = TokenInvalid(
        "Authentication failed: this is no bearer token of this system", hint="mas server token AGENT"
    )
    signed, dot, mac = text.rpartition(".")
    if len(text) > MAX_TEXT or not text.isascii() or not dot or not signed.startswith(PREFIX):
        raise invalid
    try:
        if not macs.check_mac(PURPOSE, signed.encode(), _bytes(mac)):
            raise invalid
        token = _DECODER.decode(_bytes(signed.removeprefix(PREFIX)))
        check_agent_id(token.agent)
    except (binascii.Error, ValueError, InvalidIdentifier):
        raise invalid from None
    if token.system != system:
        raise invalid
    if now_ms >= token.ends:
        raise TokenExpired(
            f"Authentication failed: the bearer token of {token.agent} has ended",
            hint=f"mas server token {token.agent}",
        )
    return token


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(found) != text:
        raise ValueError("not the one way to write these bytes")
    return found
