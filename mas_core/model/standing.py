"""What an operator has said about one agent, which wins over every rule.

| standing | messages to it | messages from it | its instances |
|---|---|---|---|
| active | pass | pass | work |
| paused | are kept for it | pass | start no handler |
| draining | are refused | pass | finish what they have |
| quarantined | are refused | are refused | start no handler; tokens stay, so that it can be looked at |
| evicted | are refused | are refused | end; tokens are revoked |
"""

from __future__ import annotations

from typing import Literal

import msgspec

StandingKind = Literal["active", "paused", "draining", "quarantined", "evicted"]

ACTIVE: StandingKind = "active"

HOLDING: frozenset[StandingKind] = frozenset({"paused", "quarantined"})
"""Standings in which an instance starts no handler."""

ISOLATING: frozenset[StandingKind] = frozenset({"quarantined", "evicted"})
"""Standings in which nothing passes in either direction."""


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One agent's standing; an agent without one is active."""

    kind: StandingKind
    reason: str = ""
    by: str = ""
    """Who said so: user@host."""
    since: int = 0
    """Unix milliseconds."""


class Directive(msgspec.Struct, frozen=True):
    """What the gateway tells an instance about its agent's standing."""

    standing: StandingKind
    reason: str = ""
