"""What operators and infrastructure write into the log that the gateway takes into the audit chain."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Phase = Literal["begun", "done", "failed", "asked", "denied", "noticed"]
"""Of an act: before it, after it, that it failed, or that a role did not permit it; of a question: that it was
asked; of what happened by itself: that it was noticed."""

OPERATOR_LANE: Final = "operator"
"""The log is read along with the lanes of the ingress, under this name."""

MAC_PURPOSE: Final = "operator"
"""Of the MAC of the owner of the gateway's keys, who has no other name."""

SIGNED_AS: Final = b"mas/operator-entry\x00"
"""In front of what an operator signs, so that no signature means anything elsewhere."""

MAX_ENTRY_BYTES: Final = 64 * 1024
"""A longer entry is recorded by its size and hash alone."""
MAX_CHANGE_BYTES: Final = 16 * 1024
"""What is said about a change; of a longer one only the outline is kept."""


class OperatorEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry: an act that begins, ended or failed, a question to the audit, or a notice."""

    id: str
    operation: str
    """The same for all entries of one act."""
    phase: Phase
    time: int
    """Unix milliseconds by the server's clock; an entry that comes much later was played back."""
    action: str
    """What was done, such as `token.rotate`."""
    actor: str
    """Who: user@host, or the name of an operator, whose signature then goes with the entry; empty for a notice."""
    write: str = ""
    """What was written: policy, registry, breaker, ..."""
    host: str = ""
    context: str = ""
    """The context or project by which the system was reached; of a notice the program that noticed."""
    command: str = ""
    """The command line, secrets masked; empty for a program."""
    reason: str = ""
    subjects: tuple[str, ...] = ()
    """Agents or things that it is about."""
    change: dict[str, object] = {}
    error: str = ""
    """Why it failed."""
