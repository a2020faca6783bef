"""Who an agent is: its public keys and, for each running instance, what it last said of itself."""

from __future__ import annotations

import msgspec


class AgentKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """The public half of what a token derives to."""

    key_id: str
    seal_key: str
    """X25519 public key, hex."""
    signing_key: str
    """Ed25519 public key, hex."""
    created: int
    """Unix milliseconds."""
    expires: int = 0
    """Unix milliseconds; 0 for never."""
    revoked: int = 0
    """Unix milliseconds of the revocation; 0 when it still counts."""
    encryption_key: str = ""
    """X25519 public key for end-to-end encryption, hex; tokens of before it have none."""

    def is_valid(self, now: int) -> bool:
        """Whether this key may be used at `now` (Unix milliseconds)."""
        return not self.revoked and (not self.expires or now < self.expires)


class DecryptionKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """The public half of a key for end-to-end encryption whose private half lies in a file of the agent."""

    key_id: str
    kind: str
    """x25519 or rsa."""
    public_key: str
    """DER of SubjectPublicKeyInfo (RFC 5280), base64."""
    created: int
    """Unix milliseconds."""
    expires: int = 0
    """Unix milliseconds; 0 for never."""
    revoked: int = 0
    """Unix milliseconds of the revocation; 0 when it still counts."""

    def is_valid(self, now: int) -> bool:
        """Whether this key may be used at `now` (Unix milliseconds)."""
        return not self.revoked and (not self.expires or now < self.expires)


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator wrote about an agent; carries the gateway's MAC in the store."""

    agent_id: str
    keys: tuple[AgentKey, ...]
    """Newest first; older ones stay for the overlap of a rotation."""
    capabilities: tuple[str, ...] | None = None
    """What the agent may claim to be able to do; None leaves it to the agent."""
    created: int = 0
    """Unix milliseconds."""
    source: str = "cli"
    decryption_keys: tuple[DecryptionKey, ...] = ()
    """Beside those of the tokens, and before them: newest first."""


class InstanceStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one running instance of an agent last said of itself."""

    instance: str
    started: int
    """Unix milliseconds by the server's clock."""
    seen: int
    """Unix milliseconds of the last heartbeat by the server's clock."""
    status: str = "active"
    """active or draining."""
    in_hand: int = 0
    """Messages being handled when the heartbeat was sent."""
    capabilities: tuple[str, ...] = ()
    metadata: dict[str, object] = {}
    slot: str = ""
    """The place that a supervisor gives to one instance at a time."""
    host: str = ""
    pid: int = 0
    incarnation: int = 0
    """When this life of the instance began; of two in one slot the younger one counts."""
    standing: str = "active"
    """The operator's word that it obeys; see `mas_core.model.standing`."""
    state_model: str = ""
    """Name of the model of its state; empty where any state will do."""
    state_looked: int = 0
    """Revision of the newest state set by an operator that it has looked at."""
    state_problem: str = ""
    """Why it cannot use what is stored."""
    at_once: int = 0
    """Messages that it handles at the same time at most; 0 where it does not say."""

    @property
    def free(self) -> int:
        """How many more messages it would begin at once; none when it takes nothing new or does not say."""
        return min(self.at_once, max(0, self.at_once - self.in_hand)) if self.status == "active" else 0
