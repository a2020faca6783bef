"""What a backup holds: its parts, the lines in them, and the manifest over all."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

FORMAT: Final = "mas-backup"
VERSION: Final = 1
MAC_PURPOSE: Final = "backup"

Part = Literal["policy", "agents", "states", "later", "dead", "circuits"]

PARTS: Final[tuple[Part, ...]] = ("policy", "agents", "states", "later", "dead", "circuits")
"""In the order in which they are read. What is kept for later can become a dead letter, never the other way
without an operator: so nothing that moves meanwhile falls between the two."""


class PolicyLine(msgspec.Struct, frozen=True):
    """One version of the policy; the last line is the one in force."""

    revision: int
    document: bytes
    mac: bytes


class AgentLine(msgspec.Struct, frozen=True):
    """One registration, with the gateway's MAC over it."""

    agent: str
    record: str
    mac: bytes


class StateLine(msgspec.Struct, frozen=True):
    """The state of one agent."""

    agent: str
    revision: int
    ordered: int
    """Revision that an operator set last."""
    data: bytes


class LaterLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message that is kept for later, sealed."""

    partition: int
    name: str
    due: float
    body: bytes
    facts: bytes = b""
    """Of a message that waits for a person, or for its moment."""
    decision: bytes = b""
    """What a person decided about it."""


class DeadLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dead letter, sealed as it is stored."""

    partition: int
    entry: str
    fields: dict[str, bytes]
    dropped_until: int = 0


class CircuitLine(msgspec.Struct, frozen=True):
    """One record about circuits."""

    partition: int
    field: str
    record: bytes


Line = PolicyLine | AgentLine | StateLine | LaterLine | DeadLine | CircuitLine

LINES: Final[dict[Part, type[Line]]] = {
    "policy": PolicyLine,
    "agents": AgentLine,
    "states": StateLine,
    "later": LaterLine,
    "dead": DeadLine,
    "circuits": CircuitLine,
}


class PartFacts(msgspec.Struct, frozen=True):
    """What a part holds."""

    lines: int
    bytes: int
    sha256: str


class PartitionFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a partition stood."""

    seq: int
    """Number of the last audit record when the backup was complete."""
    head: str
    """SHA-256 of that record, hex."""
    epoch: int
    begun_seq: int = 0
    """Number of the last one when the backup began."""
    checkpoint: str = ""
    """The newest signed checkpoint that was at hand, as a note."""
    moved: tuple[str, ...] = ()
    """Ids of messages that became dead letters meanwhile: they may be among those for later, and count as dead."""


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a backup is of and what it holds; its bytes carry the MAC of the system's gateway key."""

    format: str
    version: int
    id: str
    namespace: str
    partitions: tuple[PartitionFacts, ...]
    gateway_key: str
    """Id of the gateway key whose MAC this carries."""
    begun: int
    """Unix milliseconds by the server's clock."""
    ended: int
    by: str
    """user@host."""
    parts: dict[str, PartFacts]
    policy_revision: int = 0
    """The version in force; 0 when there is none."""
    ignored: int = 0
    """Things that were left out, since they do not carry the gateway's MAC or are none."""
    frames: int = 0
    """Frames that waited for a gateway, and are in no backup."""
    undelivered: int = 0
    """Messages in inboxes that no agent had settled, and that are in no backup."""
    profile: str = ""
    settings: dict[str, object] = {}
    """What mas.yaml says, without secrets; for people to compare, never restored."""
    keys: PartFacts | None = None
    """The encrypted part with keys and tokens, where there is one."""
