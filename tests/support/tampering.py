"""Spoils a signed log in every way of the tamper test, and says what verification has to find.

`python tests/support/tampering.py` runs the whole: 10,000 mutations over 100,000 records. Each is verified from
a state that was verified before, at most 3,000 records ahead of the place of the mutation; every fiftieth is
verified from the first record as well. `--from-start` verifies all from the first record, which takes hours.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.evidence_folders import START, build_records, compressed

from mas_core.audit.chain import decode_record, encode_record, record_hash
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.folder_verify import verify_folder
from mas_core.audit.log_verify import Start
from mas_core.audit.merkle import HASH_SIZE, TreeHead, leaf_hash, stored_count
from mas_core.audit.note import Note, SignerKey, VerifierKey, notes_in, sign_note
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.audit.verify import Tampering, VerifyResult
from mas_core.model.audit_record import GENESIS, AuditRecord

EVERY = 256
FAR = 3_000


@dataclass
class Log:
    """A log that was written by the notary's writer, and everything of it in memory."""

    folder: Path
    records: list[bytes]
    segment: int
    key: VerifierKey
    notes: list[bytes]
    hashes: bytes

    @property
    def size(self) -> int:
        return len(self.records)

    @property
    def closed(self) -> int:
        """Records in closed segments."""
        return self.size // self.segment * self.segment

    def read_hash(self, place: int) -> bytes:
        return self.hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]

    def head(self, seq: int) -> str:
        return record_hash(self.records[seq - 1]) if seq else GENESIS

    def start(self, size: int) -> Start:
        """The state of a verification that has come to this record."""
        return Start(size, self.head(size), TreeHead(size, self.read_hash))


@dataclass
class Mutation:
    """One way in which the log was spoilt."""

    name: str
    place: int
    """The first record that is concerned."""
    kinds: set[Tampering]
    """What verification may call it."""
    is_exact: bool = True
    """Whether the first bad record has to be named exactly."""
    first_bad: int | None = None
    latest: int | None = None
    """Where it is not exact: the last number that may be named."""
    outside: list[bytes] = field(default_factory=list)


def build_log(folder: Path, count: int, segment: int) -> Log:
    """Write a log with a checkpoint for each 256 records and one at the end."""
    records = build_records(count)
    keys = CheckpointKeys(folder, folder.parent / "keys", "mas")
    writer = EvidenceWriter(folder, 0, keys, segment_records=segment)
    for at in range(0, count, EVERY):
        writer.append(records[at : at + EVERY])
        writer.checkpoint(START + at * 10)
    writer.close()
    place = folder / "p0"
    notes = list(notes_in((place / "checkpoints").read_bytes()))
    return Log(folder, records, segment, keys.public[0], notes, (place / "hashes").read_bytes())


class Spoiler:
    """Makes spoilt copies of a log, sharing with it the files that stay as they are."""

    def __init__(self, log: Log, source: random.Random, target: Path) -> None:
        self.log = log
        self.source = source
        self.target = target

    def copy(self) -> None:
        """Put a copy of the log into `target`, as it is."""
        shutil.rmtree(self.target, ignore_errors=True)
        (self.target / "p0").mkdir(parents=True)
        for path in (*self.log.folder.glob("*"), *self.log.folder.glob("p0/*")):
            if path.is_file():
                os.link(path, self.target / path.relative_to(self.log.folder))

    def spoil(self, name: str) -> Mutation:
        """A copy of the log in `target`, spoilt in the way of this name."""
        self.copy()
        mutation = MUTATIONS[name](self)
        mutation.name = name
        if not mutation.outside:
            mutation.outside = [self.log.notes[-1]]
        return mutation

    def place(self) -> int:
        """Any record; those at both ends and around borders of files more often."""
        log = self.log
        borders = [1, 2, log.size - 1, log.size, log.closed, log.closed + 1, log.segment, log.segment + 1]
        return (
            self.source.choice(borders) if self.source.random() < 0.05 else self.source.randint(1, log.size)
        )

    def forged(self, seq: int, prev: str) -> bytes:
        made = AuditRecord(
            seq=seq, time=self.source.randrange(10**12), decision="allowed", sender="mallory", prev=prev
        )
        return encode_record(made)

    def rewrite_lines(self, first: int, lines: Sequence[bytes], count: int) -> None:
        """Put `lines` where the `count` records from `first` on stand, in the files in which they are."""
        log = self.log
        low, high = first, first + count
        is_new = False
        for begin in range(1, log.size + 2, log.segment):
            end = min(begin + log.segment, log.size + 1)
            if end <= low and not (low == log.size + 1 and end == low):
                continue
            if begin >= high and (count or is_new):
                break
            before = log.records[begin - 1 : low - 1] if begin <= low else []
            after = log.records[high - 1 : end - 1] if high < end else []
            inside = list(lines) if not is_new else []
            if is_new is False and high > end:
                share = end - low
                inside, lines = list(lines[:share]), lines[share:]
                self._write(begin, [*before, *inside])
                low = end
                continue
            is_new = True
            self._write(begin, [*before, *inside, *after])
            break

    def _write(self, begin: int, records: Sequence[bytes]) -> None:
        log = self.log
        if begin > log.closed:
            self.write("p0/open.jsonl", b"".join(record + b"\n" for record in records))
        else:
            self.write(f"p0/{begin:012}-{begin + log.segment - 1:012}.jsonl.zst", compressed(records))

    def write(self, name: str, content: bytes) -> None:
        path = self.target / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def spoil_hashes(self, first: int, records: Callable[[], Sequence[bytes]]) -> str:
        """What happens to the tree hashes: kept, removed, or made to fit from `first` on."""
        way = self.source.choice(("kept", "removed", "made to fit"))
        if way == "removed":
            (self.target / "p0/hashes").unlink()
        elif way == "made to fit":
            tree = TreeHead(first - 1, self.log.read_hash)
            made = b"".join(tree.extend([leaf_hash(record) for record in records()]))
            self.write("p0/hashes", self.log.hashes[: stored_count(first - 1) * HASH_SIZE] + made)
        return way

    def window(self, seq: int) -> tuple[int, int]:
        """The checkpoints before and after a record."""
        before = (seq - 1) // EVERY * EVERY
        return before, min(before + EVERY, self.log.size)


def edit(spoiler: Spoiler) -> Mutation:
    seq = spoiler.place()
    record = bytearray(spoiler.log.records[seq - 1])
    at = spoiler.source.randrange(len(record))
    record[at] = spoiler.source.choice([byte for byte in range(256) if byte != record[at]])
    line = bytes(record)
    spoiler.rewrite_lines(seq, [line], 1)
    spoiler.spoil_hashes(seq, lambda: [line, *spoiler.log.records[seq:]])
    # Changing the last record and making everything fit is the same as rewriting the log from there on.
    extra = {Tampering.REWRITTEN} if seq == spoiler.log.size else set()
    return Mutation("", seq, {Tampering.EDITED, *extra}, first_bad=seq)


def edit_value(spoiler: Spoiler) -> Mutation:
    """A well-formed record with another value in one field."""
    seq = spoiler.place()
    record = decode_record(spoiler.log.records[seq - 1])
    name, value = spoiler.source.choice(
        (("seq", seq + 1), ("time", 1), ("decision", "denied"), ("sender", "mallory"), ("prev", "a" * 64),
         ("size", record.size + 1), ("details", {"note": "nothing"}))
    )  # fmt: skip
    line = encode_record(msgspec.structs.replace(record, **{name: value}))
    spoiler.rewrite_lines(seq, [line], 1)
    spoiler.spoil_hashes(seq, lambda: [line, *spoiler.log.records[seq:]])
    extra = {Tampering.REWRITTEN} if seq == spoiler.log.size else set()
    return Mutation("", seq, {Tampering.EDITED, *extra}, first_bad=seq)


def delete(spoiler: Spoiler) -> Mutation:
    seq = spoiler.place()
    spoiler.rewrite_lines(seq, [], 1)
    spoiler.spoil_hashes(seq, lambda: spoiler.log.records[seq:])
    extra = {Tampering.TRUNCATED} if seq == spoiler.log.size else set()
    return Mutation("", seq, {Tampering.DELETED, *extra}, first_bad=seq)


def insert(spoiler: Spoiler) -> Mutation:
    seq = spoiler.place()
    prev = spoiler.log.head(seq - 1) if spoiler.source.random() < 0.5 else "b" * 64
    line = spoiler.forged(seq, prev)
    spoiler.rewrite_lines(seq, [line], 0)
    spoiler.spoil_hashes(seq, lambda: [line, *spoiler.log.records[seq - 1 :]])
    return Mutation("", seq, {Tampering.INSERTED}, first_bad=seq)


def duplicate(spoiler: Spoiler) -> Mutation:
    seq = max(2, spoiler.place())
    line = spoiler.log.records[spoiler.source.choice((seq - 1, spoiler.source.randint(1, seq - 1))) - 1]
    spoiler.rewrite_lines(seq, [line], 0)
    spoiler.spoil_hashes(seq, lambda: [line, *spoiler.log.records[seq - 1 :]])
    return Mutation("", seq, {Tampering.DUPLICATED, Tampering.INSERTED}, first_bad=seq)


def swap(spoiler: Spoiler) -> Mutation:
    seq = min(spoiler.place(), spoiler.log.size - 1)
    other = min(spoiler.log.size, seq + spoiler.source.choice((1, 1, 2, spoiler.source.randint(3, 2_000))))
    records = spoiler.log.records[seq - 1 : other]
    records[0], records[-1] = records[-1], records[0]
    spoiler.rewrite_lines(seq, records, len(records))
    way = spoiler.spoil_hashes(seq, lambda: [*records, *spoiler.log.records[other:]])
    if way == "kept":
        return Mutation("", seq, {Tampering.REORDERED}, first_bad=seq)
    near = {Tampering.REORDERED, Tampering.EDITED, Tampering.DELETED}
    return Mutation("", seq, near, is_exact=False, latest=seq)


def truncate(spoiler: Spoiler) -> Mutation:
    log = spoiler.log
    cut = spoiler.source.randint(1, log.size - log.closed)
    seq = log.size - cut + 1
    spoiler.rewrite_lines(seq, [], cut)
    if spoiler.source.random() < 0.5:
        spoiler.write("p0/hashes", log.hashes[: stored_count(seq - 1) * HASH_SIZE])
    return Mutation("", seq, {Tampering.TRUNCATED}, first_bad=seq)


def roll_back(spoiler: Spoiler) -> Mutation:
    """The whole folder, checkpoints included, as it was once."""
    log = spoiler.log
    count = spoiler.source.randint(1, len(log.notes) - 1)
    size = count * EVERY
    for begin in range(1, log.closed + 1, log.segment):
        if begin + log.segment - 1 > size:
            (spoiler.target / f"p0/{begin:012}-{begin + log.segment - 1:012}.jsonl.zst").unlink()
    rest = log.records[size // log.segment * log.segment : size]
    spoiler.write("p0/open.jsonl", b"".join(record + b"\n" for record in rest))
    spoiler.write("p0/hashes", log.hashes[: stored_count(size) * HASH_SIZE])
    spoiler.write("p0/checkpoints", b"".join(note + b"\n" for note in log.notes[:count]))
    return Mutation("", size + 1, {Tampering.ROLLED_BACK}, first_bad=size + 1)


def rewrite(spoiler: Spoiler) -> Mutation:
    """Everything from a record on, with links that fit."""
    log = spoiler.log
    seq = spoiler.place()
    records = [spoiler.forged(seq, log.head(seq - 1))]
    before = log.head(seq)
    for record in log.records[seq:]:
        records.append(record.replace(before.encode(), record_hash(records[-1]).encode()))
        before = record_hash(record)
    spoiler.rewrite_lines(seq, records, len(records))
    way = spoiler.spoil_hashes(seq, lambda: records)
    extra = {Tampering.EDITED} if seq == log.size else set()
    kinds = {Tampering.REWRITTEN, *extra}
    if way == "kept":
        return Mutation("", seq, kinds, first_bad=seq)
    low, high = spoiler.window(seq)
    if high == log.size:
        # Without the leaves, the last record alone may have been changed as well.
        kinds.add(Tampering.EDITED)
    return Mutation("", low + 1, kinds, is_exact=False, first_bad=low + 1, latest=high)


def drop_segment(spoiler: Spoiler) -> Mutation:
    log = spoiler.log
    begin = spoiler.source.randrange(1, log.closed + 1, log.segment)
    (spoiler.target / f"p0/{begin:012}-{begin + log.segment - 1:012}.jsonl.zst").unlink()
    return Mutation("", begin, {Tampering.SEGMENT_MISSING}, first_bad=begin)


def edit_checkpoint(spoiler: Spoiler) -> Mutation:
    data = bytearray(b"".join(note + b"\n" for note in spoiler.log.notes))
    at = spoiler.source.randrange(len(data))
    data[at] = spoiler.source.choice([byte for byte in range(256) if byte != data[at]])
    spoiler.write("p0/checkpoints", bytes(data))
    return Mutation("", spoiler.log.size, {Tampering.CHECKPOINT_FORGED})


def drop_checkpoint(spoiler: Spoiler) -> Mutation:
    """One that a second place holds."""
    notes = spoiler.log.notes
    gone = spoiler.source.randrange(len(notes))
    spoiler.write("p0/checkpoints", b"".join(note + b"\n" for note in [*notes[:gone], *notes[gone + 1 :]]))
    return Mutation("", spoiler.log.size, {Tampering.CHECKPOINT_MISSING}, outside=[notes[gone], notes[-1]])


def replace_key(spoiler: Spoiler) -> Mutation:
    """The public key, and sometimes all checkpoints signed anew with it."""
    log = spoiler.log
    signer = SignerKey(log.key.name, Ed25519PrivateKey.from_private_bytes(spoiler.source.randbytes(32)))
    spoiler.write("audit.pub", f"{signer.public}\n".encode())
    if spoiler.source.random() < 0.3:
        notes = [sign_note(Note.parse(note).text, [signer]) for note in log.notes]
        spoiler.write("p0/checkpoints", b"".join(note + b"\n" for note in notes))
    return Mutation("", log.size, {Tampering.KEY_REPLACED})


MUTATIONS: dict[str, Callable[[Spoiler], Mutation]] = {
    "edit a byte": edit,
    "edit a value": edit_value,
    "delete": delete,
    "insert": insert,
    "duplicate": duplicate,
    "swap": swap,
    "truncate": truncate,
    "roll back": roll_back,
    "rewrite": rewrite,
    "drop a segment": drop_segment,
    "edit a checkpoint": edit_checkpoint,
    "drop a checkpoint": drop_checkpoint,
    "replace the key": replace_key,
}
_SHARES = (26, 8, 16, 16, 7, 7, 4, 3, 4, 3, 3, 1, 2)
"""Of a hundred, in the order above."""


def missed(mutation: Mutation, found: VerifyResult) -> str:
    """What is wrong with a verdict; empty when it is right."""
    if found.ok:
        return "not found"
    if found.kind not in mutation.kinds:
        return f"called {found.kind}"
    if mutation.latest is not None:
        low = mutation.first_bad or mutation.place
        if found.first_bad is None or not low <= found.first_bad <= mutation.latest:
            return f"named {found.first_bad}, not one of {low} to {mutation.latest}"
    elif found.first_bad != mutation.first_bad:
        return f"named {found.first_bad}, not {mutation.first_bad}"
    if mutation.first_bad is not None and found.verified_to >= mutation.place:
        return f"called {found.verified_to} beyond doubt"
    return ""


def run_slice(
    log: Log, seed: int, numbers: Sequence[int], *, far: int | None = None, whole_every: int = 0
) -> tuple[Counter[str], list[str], int]:
    """Spoil and verify once for each number.

    Returns:
        Mutations that were found, by name; what was missed, in words; verifications from the first record.
    """
    found: Counter[str] = Counter()
    problems = []
    wholes = 0
    with tempfile.TemporaryDirectory(dir=log.folder.parent) as folder:
        for number in numbers:
            source = random.Random(f"{seed}:{number}")
            name = source.choices(list(MUTATIONS), _SHARES)[0]
            mutation = Spoiler(log, source, Path(folder) / "spoilt").spoil(name)
            starts: list[Start | None] = []
            if far is None or (whole_every and number % whole_every == 0):
                starts.append(None)
                wholes += 1
            if far is not None:
                starts.append(log.start(max(0, mutation.place - 1 - source.randint(0, far))))
            for start in starts:
                keys = trusted_keys(Path(folder) / "spoilt", [log.key])
                verdict = verify_folder(
                    Path(folder) / "spoilt", 0, keys, outside=mutation.outside, start=start
                )
                if problem := missed(mutation, verdict):
                    problems.append(
                        f"{seed}:{number} {name} at {mutation.place}: {problem}; {verdict.problem}"
                    )
                    break
            else:
                found[name] += 1
    return found, problems, wholes


_log: Log | None = None


def _run_numbers(seed: int, numbers: Sequence[int], far: int | None, whole_every: int):
    assert _log is not None
    return run_slice(_log, seed, numbers, far=far, whole_every=whole_every)


def main() -> None:
    global _log  # noqa: PLW0603 - worker processes take it over from the parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--whole-every", type=int, default=50, help="verify every so many from record 1, too")
    parser.add_argument("--from-start", action="store_true", help="verify all from record 1 only")
    parser.add_argument("--progress", action="store_true", help="tell how far it is")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _log = build_log(Path(folder) / "audit", options.records, 4096)
        digest = hashlib.sha256(b"\n".join(_log.records)).hexdigest()[:16]
        print(f"{options.records} records ({digest}), {len(_log.notes)} checkpoints, seed {options.seed}")
        far = None if options.from_start else FAR
        chunks = [range(at, min(at + 50, options.mutations)) for at in range(0, options.mutations, 50)]
        found: Counter[str] = Counter()
        problems: list[str] = []
        wholes = 0
        with ProcessPoolExecutor(options.jobs) as pool:
            tasks = [
                pool.submit(_run_numbers, options.seed, chunk, far, options.whole_every) for chunk in chunks
            ]
            for task in tasks:
                some, missing, whole = task.result()
                found += some
                problems += missing
                wholes += whole
                if sys.stderr.isatty() or options.progress:
                    print(f"{found.total()} found, {len(problems)} missed", file=sys.stderr, flush=True)
    for name in MUTATIONS:
        print(f"{name:20} {found[name]:6} found")
    print(*problems[:20], sep="\n")
    print(
        f"{found.total()} of {options.mutations} mutations found and named; {wholes} of them verified from "
        f"the first record; {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
