"""Checkpoints that count: signed by a trusted key, of this log, in order, byte for byte as they were written."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.note import Note
from mas_core.audit.trusted_keys import TrustedKeys
from mas_core.audit.verify import Tampering
from mas_core.errors import NoteInvalid


class Lookahead:
    """Checkpoints one after the other; some can be looked at before their turn."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self._source = iter(checkpoints)
        self._seen: deque[Checkpoint] = deque()

    def __iter__(self) -> Iterator[Checkpoint]:
        return self

    def __next__(self) -> Checkpoint:
        return self._seen.popleft() if self._seen else next(self._source)

    def to(self, size: int) -> list[Checkpoint]:
        """Those that come next, up to the first that covers so many records; they stay where they are."""
        while not self._seen or self._seen[-1].size < size:
            found = next(self._source, None)
            if found is None:
                break
            self._seen.append(found)
        return list(self._seen)


@dataclass(frozen=True, slots=True)
class BadCheckpoint:
    """What is wrong with a checkpoint, or that one is missing."""

    kind: Tampering
    problem: str


class CheckpointSource:
    """The checkpoints of one partition by size, from its own file and from second places.

    Args:
        keys: Who may sign.
        partition: Whose checkpoints.
        own: The partition's own notes, oldest first.
        outside: Notes that second places kept; of other partitions as well, which may name this one.
    """

    def __init__(
        self, keys: TrustedKeys, partition: int, own: Iterable[bytes], outside: Iterable[bytes] = ()
    ) -> None:
        self._keys = keys
        self._partition = partition
        self.problems: list[BadCheckpoint] = []
        """The first of each kind."""
        self.own_size = 0
        """Size that the newest own checkpoint names."""
        self.count = 0
        self._own = own
        self._outside = sorted(self._outside_checkpoints(outside), key=lambda found: found.size)

    def __iter__(self) -> Iterator[Checkpoint]:
        """Checkpoints by size; one that two places hold comes once when it is the same in both."""
        last: Checkpoint | None = None
        own_last = -1
        for found, is_own in merge(
            ((found, True) for found in self._own_checkpoints()),
            ((found, False) for found in self._outside),
            key=lambda item: (item[0].size, not item[1]),
        ):
            if is_own:
                own_last = found.size
            elif own_last != found.size:
                self._note(
                    Tampering.CHECKPOINT_MISSING,
                    f"the checkpoint of {found.size} records, which a second place holds, is not there",
                )
            if last is None or found.size != last.size or found.root != last.root:
                self.count += 1
                yield found
            last = found

    def _own_checkpoints(self) -> Iterator[Checkpoint]:
        newest_key = 0
        for number, data in enumerate(self._own, 1):
            try:
                found, key = self._read(data)
            except NoteInvalid as error:
                self._note(
                    Tampering.CHECKPOINT_FORGED,
                    f"checkpoint {number} does not count: {error.message}",
                )
                continue
            if found.size < self.own_size or key < newest_key:
                self._note(Tampering.CHECKPOINT_FORGED, f"checkpoint {number} is out of order")
                continue
            self.own_size, newest_key = found.size, key
            yield found

    def _outside_checkpoints(self, notes: Iterable[bytes]) -> Iterator[Checkpoint]:
        for data in notes:
            try:
                note = Note.parse(data)
                is_ours = note.text.partition("\n")[0] == self._origin
                found = self._read(data)[0] if is_ours else self._named_in(note)
            except NoteInvalid as error:
                self._note(
                    Tampering.CHECKPOINT_FORGED,
                    f"a checkpoint of a second place does not count: {error.message}",
                )
                continue
            if found is not None:
                yield found

    def _named_in(self, note: Note) -> Checkpoint | None:
        """What the checkpoint of another partition says of this one."""
        if not note.signed_by(self._keys.keys):
            return None
        other = Checkpoint.parse(note.text)
        state = other.others.get(self._partition)
        if state is None or not state.size or not other.origin.startswith(f"{self._keys.name}/"):
            return None
        return Checkpoint(self._origin, state.size, state.root, other.time, "")

    @property
    def _origin(self) -> str:
        return f"{self._keys.name}/{self._partition}"

    def _read(self, data: bytes) -> tuple[Checkpoint, int]:
        """The checkpoint, and the number of the key that signed it.

        Raises:
            NoteInvalid: It does not count.
        """
        note = Note.parse(data)
        if _encoded(note) != data:
            raise NoteInvalid("it is not as it was written")
        signers = note.signed_by((*self._keys.earlier, *self._keys.keys))
        if not signers:
            raise NoteInvalid("no trusted key signed it")
        found = Checkpoint.parse(note.text)
        if found.origin != self._origin:
            raise NoteInvalid(f"it is of {found.origin}, not of {self._origin}")
        order = (*self._keys.earlier, *self._keys.keys)
        return found, max(order.index(key) for key in signers)

    def _note(self, kind: Tampering, problem: str) -> None:
        if all(known.kind is not kind for known in self.problems):
            self.problems.append(BadCheckpoint(kind, problem))


def _encoded(note: Note) -> bytes:
    """The one way to write a note: base64 has others, in which bits that do not count were changed."""
    lines = [
        f"— {signature.name} {base64.b64encode(signature.key_hash + signature.signature).decode()}\n"
        for signature in note.signatures
    ]
    return f"{note.text}\n{''.join(lines)}".encode()
