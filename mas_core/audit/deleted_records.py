"""What says that old segments were deleted under a retention policy: a signed note, not their absence.

The file `deleted` in the folder of a partition holds one note for each time; the newest counts. It names the last
record that went, its hash and the root of the tree up to there, so that chain and tree of what is left go on from
it: whoever removes a segment without the notary's key has only removed evidence, and that shows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mas_core.audit.evidence_reader import notes_in
from mas_core.audit.merkle import HASH_SIZE
from mas_core.audit.note import Note, VerifierKey
from mas_core.errors import EvidenceDamaged, NoteInvalid

DELETED_FILE: Final = "deleted"

_TITLE: Final = "mas audit records deleted"
_TEXT = re.compile(
    rf"{_TITLE}\n(?P<origin>[^\n]{{1,300}})\n"
    r"records 1 (?P<last>[1-9][0-9]{0,18})\nhead (?P<head>[0-9a-f]{64})\n"
    r"root (?P<root>[A-Za-z0-9+/=]{44})\ntime (?P<time>[0-9]{1,19})\npolicy (?P<policy>[^\n]{1,1000})\n"
)


@dataclass(frozen=True, slots=True)
class DeletedRecords:
    """That the first records of a partition were deleted on purpose."""

    origin: str
    """`<namespace>/<system id>/audit/<partition>`."""
    last: int
    """Number of the last record that went."""
    head: str
    """Its SHA-256, hex."""
    root: bytes
    """The root of the tree up to it."""
    time: int
    """When, by the server's clock; Unix milliseconds."""
    policy: str
    """Under which policy, in words."""

    def text(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return (
            f"{_TITLE}\n{self.origin}\nrecords 1 {self.last}\nhead {self.head}\nroot {root}\n"
            f"time {self.time}\npolicy {self.policy}\n"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the text of a note says.

        Raises:
            NoteInvalid: It is none of these.
        """
        match = _TEXT.fullmatch(text)
        try:
            root = base64.b64decode(match["root"], validate=True) if match else b""
        except (binascii.Error, ValueError):
            root = b""
        if match is None or len(root) != HASH_SIZE:
            raise NoteInvalid("this note does not say which records were deleted")
        return cls(
            match["origin"], int(match["last"]), match["head"], root, int(match["time"]), match["policy"]
        )


def read_deleted(path: Path, partition: int, keys: Sequence[VerifierKey]) -> DeletedRecords | None:
    """What was deleted of a partition on purpose; None when nothing was.

    Args:
        path: The folder of the partition.
        partition: Its number.
        keys: Whose signatures count.

    Raises:
        EvidenceDamaged: The file says it, and none of the keys signed that, or it is of another log.
    """
    newest: DeletedRecords | None = None
    try:
        for data in notes_in(path / DELETED_FILE):
            newest = _checked(data, partition, keys, newest)
    except (NoteInvalid, OSError) as error:
        why = error.message if isinstance(error, NoteInvalid) else error.strerror or str(error)
        raise EvidenceDamaged(
            f"{path / DELETED_FILE} does not hold: {why}",
            hint="mas audit verify",
            path=str(path / DELETED_FILE),
        ) from error
    return newest


def _checked(
    data: bytes, partition: int, keys: Sequence[VerifierKey], before: DeletedRecords | None
) -> DeletedRecords:
    note = Note.parse(data)
    found = DeletedRecords.parse(note.text)
    signers = note.signed_by(keys)
    if not signers or found.origin != f"{signers[0].name}/{partition}":
        raise NoteInvalid("no key of this log signed it")
    if before is not None and found.last <= before.last:
        raise NoteInvalid("its notes are out of order")
    return found
