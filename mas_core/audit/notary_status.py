"""What a notary says of itself, in its heartbeat in the store."""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec

NOTARY_EXPIRY_MS = 5_000
"""A notary counts as running for this long after its last heartbeat."""

PartitionState = Literal["signing", "unsigned", "refused", "unwritable"]
"""`unsigned`: records are kept, but the key cannot be used. `refused`: the log is not what was signed."""


class PartitionEvidence(msgspec.Struct, frozen=True):
    """How the evidence of one partition stands."""

    partition: int
    state: PartitionState
    records: int
    """Number of the last record in the folder."""
    signed: int
    """Number of the last record that a checkpoint names."""
    signed_at: int = 0
    """Time in the last checkpoint, Unix milliseconds by the server's clock; 0 for none."""
    sequence: int = 0
    """Of a refusal: number of the record that does not fit."""
    problem: str = ""


class WitnessState(msgspec.Struct, frozen=True):
    """How a second place stands."""

    name: str
    delivered: int = 0
    failures: int = 0
    problem: str = ""
    """Why it did not take the last checkpoint that it got; empty when it did."""


class NotaryStatus(msgspec.Struct, frozen=True):
    """One notary and all it follows."""

    notary_id: str
    seen: int
    """Unix milliseconds by the server's clock."""
    started: int
    host: str
    pid: int
    folder: str
    partitions: tuple[PartitionEvidence, ...] = ()
    witnesses: tuple[WitnessState, ...] = ()
    cpu_s: float = 0.0
    """Processor time that the whole process has used."""
    housekeeping: str = ""
    """What is wrong with archive and retention; empty when nothing is."""

    @property
    def alarms(self) -> list[str]:
        """What is wrong and needs an operator, in words."""
        found = [item.problem for item in self.partitions if item.problem]
        found += [f"{witness.name}: {witness.problem}" for witness in self.witnesses if witness.problem]
        found += [self.housekeeping] if self.housekeeping else []
        return list(dict.fromkeys(found))


def live_notaries(fields: dict[str, bytes], now: int) -> list[NotaryStatus]:
    """The notaries with a fresh heartbeat, by id."""
    found = []
    for text in fields.values():
        # One that cannot be read is of another version, or somebody else's.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(text, type=NotaryStatus))
    return sorted(
        (item for item in found if item.seen + NOTARY_EXPIRY_MS > now), key=lambda item: item.notary_id
    )
