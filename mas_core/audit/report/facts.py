"""What a report needs to know beside the records of its period: proof, keys, policy, keeping.

Whoever makes a report gathers them; what could not be found out is None and becomes a gap, never a guess.
"""

from __future__ import annotations

import msgspec


class Proof(msgspec.Struct, frozen=True):
    """What verification found in one partition."""

    partition: int
    ok: bool
    records: int
    verified_to: int
    head: str
    first_bad: int | None = None
    problem: str = ""
    place: str = "store"
    """Where the records were read: store or folder."""
    kind: str = ""
    """What kind of tampering it is, where that is known."""
    covered: int = 0
    """Number of the last record that a signed checkpoint covers."""


class CheckpointState(msgspec.Struct, frozen=True):
    """The newest signed checkpoint of one partition, outside of the store."""

    partition: int
    size: int
    """Records that it covers."""
    time: int
    """Unix milliseconds; 0 when it does not say."""
    stored: int
    """Records that the store has."""


class PolicyChange(msgspec.Struct, frozen=True):
    """One revision of the policy."""

    revision: int
    time: int
    """Unix milliseconds."""
    by: str
    change: str


class PolicyState(msgspec.Struct, frozen=True):
    """The policy now, and how it changed in the period."""

    revision: int
    features: dict[str, bool]
    rules: int
    open_rules: tuple[str, ...]
    """Ids of rules that allow everybody to send anything to everybody."""
    lasting_rules: int
    """Rules that allow something and never end."""
    roles: int
    detection_off: tuple[str, ...]
    """Rules and categories of the scan that the policy switches off."""
    standings: dict[str, str]
    """Agent -> what operators have said of it: paused, quarantined, ..."""
    blocked: int
    changes: tuple[PolicyChange, ...] = ()
    """In the period, oldest first."""
    is_history_whole: bool = True
    """False when revisions of the period are no longer kept."""


class Credential(msgspec.Struct, frozen=True):
    """A token or key of an agent that was made or revoked in the period, or counts now."""

    agent: str
    key_id: str
    kind: str
    created: int
    """Unix milliseconds."""
    expires: int
    """Unix milliseconds; 0 for never."""
    revoked: int
    """Unix milliseconds; 0 when it was not."""


class CredentialState(msgspec.Struct, frozen=True):
    """The credentials of agents."""

    agents: int
    valid: int
    lasting: int
    """Valid tokens that never end."""
    made: tuple[Credential, ...] = ()
    """In the period."""
    revoked: tuple[Credential, ...] = ()
    """In the period."""
    forged: tuple[str, ...] = ()
    """Agents whose stored record does not carry this system's MAC, so that it was ignored."""


class Keeping(msgspec.Struct, frozen=True):
    """How long records are kept."""

    hot_days: int
    """In the store; 0 for ever."""
    archive_days: int
    """In segments or an archive; 0 for ever."""
    framework: str = ""
    """What the policy of keeping is called."""
    deletes: bool = False
    """Whether older segments are deleted."""


class Facts(msgspec.Struct, frozen=True):
    """Everything that is not in the records; None where it could not be found out."""

    system: str
    generated: int
    """Unix milliseconds by the server's clock."""
    by: str = ""
    """Who made the report: user@host."""
    partitions: int = 1
    proofs: tuple[Proof, ...] | None = None
    checkpoints: tuple[CheckpointState, ...] | None = None
    is_pinned: bool = False
    """Whether the signatures were checked with a key that whoever asked has kept apart."""
    policy: PolicyState | None = None
    credentials: CredentialState | None = None
    keeping: Keeping | None = None
    unknown: dict[str, str] = {}
    """Name of a field that is None -> why it could not be found out."""
