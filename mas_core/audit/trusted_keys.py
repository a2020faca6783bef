"""Which keys of an evidence folder a verifier trusts: those it pinned, and those they handed over to.

What the folder says of its own keys proves nothing to whoever does not trust the folder; without a pinned key
its keys are taken as they are, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mas_core.audit.evidence_reader import notes_in, open_plain
from mas_core.audit.note import Note, VerifierKey
from mas_core.errors import NoteInvalid

PUBLIC_NAME: Final = "audit.pub"
ROTATIONS_NAME: Final = "rotations"
_ROTATION = "mas audit key rotation"
_MAX_PUBLIC_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys whose checkpoints count."""

    keys: tuple[VerifierKey, ...]
    """The oldest first."""
    earlier: tuple[VerifierKey, ...] = ()
    """Keys of the folder from before the pinned one: nobody vouches for them, later checkpoints do."""
    is_pinned: bool = True
    problem: str = ""
    """Why the folder's keys are not those that were pinned; empty when they are."""

    @property
    def name(self) -> str:
        """What origins of checkpoints begin with."""
        return self.keys[0].name if self.keys else ""


def trusted_keys(folder: Path, pinned: Sequence[VerifierKey]) -> TrustedKeys:
    """The keys to trust in an evidence folder.

    Args:
        folder: The evidence folder, or an export of one.
        pinned: Keys that the verifier got from somewhere else; none to take the folder's word.
    """
    claimed, problem = _claimed(folder)
    if not pinned:
        return TrustedKeys(tuple(claimed), is_pinned=False, problem=problem)
    keys = list(dict.fromkeys(pinned))
    for note in notes_in(folder / ROTATIONS_NAME):
        if (successor := _successor(note, keys)) is not None and successor not in keys:
            keys.append(successor)
    if claimed and not problem:
        known = [number for number, key in enumerate(claimed) if key in keys]
        if not known:
            problem = f"{PUBLIC_NAME} does not hold the pinned key"
        elif strangers := [key for key in claimed[known[0] :] if key not in keys]:
            problem = f"{PUBLIC_NAME} holds a key that no trusted key handed over to: {strangers[0]}"
        else:
            return TrustedKeys(tuple(keys), earlier=tuple(claimed[: known[0]]))
    return TrustedKeys(tuple(keys), problem=problem)


def _claimed(folder: Path) -> tuple[list[VerifierKey], str]:
    try:
        with open_plain(folder / PUBLIC_NAME) as file:
            text = file.read(_MAX_PUBLIC_BYTES).decode()
        keys = [VerifierKey.parse(line) for line in text.splitlines()]
    except FileNotFoundError:
        return [], ""
    except (OSError, UnicodeDecodeError, NoteInvalid) as error:
        return [], f"{PUBLIC_NAME} cannot be used: {error}"
    if "".join(f"{key}\n" for key in keys) != text:
        return [], f"{PUBLIC_NAME} is not as it was written"
    return keys, ""


def _successor(data: bytes, trusted: Sequence[VerifierKey]) -> VerifierKey | None:
    """The key that a trusted one hands over to in this note, signed by both."""
    try:
        note = Note.parse(data)
        title, _, line = note.text.removesuffix("\n").partition("\n")
        successor = VerifierKey.parse(line)
        is_handed = bool(note.signed_by(trusted)) and bool(note.signed_by([successor]))
    except NoteInvalid:
        return None
    is_ours = title == _ROTATION and any(successor.name == key.name for key in trusted)
    return successor if is_handed and is_ours else None
