"""An index beside the records of a partition: which blocks can hold what is asked for.

It can be thrown away and made again, and it is never trusted: what is found through it is read from the
records, and where it is damaged or missing the records themselves are searched. It can hide records from
whoever does not know that it was changed, so a proof never uses it.

The numbers of records are divided into groups of 8,192, and these into 32 blocks of 256. A group is written
at once when all its records are there: for each term the blocks that hold it, as bits of a number, and for all
ids a sorted list of fingerprints with the block in their lowest five bits. Each row carries a checksum.
"""

from __future__ import annotations

import sqlite3
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from mas_core.audit.terms import TYPE, Wanted, id_fingerprint, terms_of
from mas_core.base.logs import get_logger
from mas_core.errors import IndexDamaged

log = get_logger(__name__)

INDEX_NAME: Final = "index.sqlite"
BLOCK_RECORDS: Final = 256
GROUP_BLOCKS: Final = 32
GROUP_RECORDS: Final = BLOCK_RECORDS * GROUP_BLOCKS
_ALL_BLOCKS: Final = (1 << GROUP_BLOCKS) - 1
_ID_MASK: Final = 0xFFFFFFFF & ~(GROUP_BLOCKS - 1)
_FORMAT: Final = f"1 {sys.byteorder}"
_WAIT_S: Final = 5.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (format TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS groups (
    number INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
    times BLOB NOT NULL, ids BLOB NOT NULL, times_checksum INTEGER NOT NULL, ids_checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS postings (
    number INTEGER NOT NULL, term TEXT NOT NULL, blocks INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (number, term)) WITHOUT ROWID;
"""


def group_of(seq: int) -> int:
    """The group that a record number lies in, counted from 0."""
    return (seq - 1) // GROUP_RECORDS


def first_of(group: int) -> int:
    """Number of the first record of a group."""
    return group * GROUP_RECORDS + 1


class Index:
    """Keeps the index of one partition; one process at a time.

    Args:
        folder: The partition's folder. An index there that cannot be used is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / INDEX_NAME
        try:
            self._database = _prepared(self.path)
        except (sqlite3.DatabaseError, IndexDamaged):
            remove_index(folder)
            self._database = _prepared(self.path)
        self._next = 0
        self._growing: _Group | None = None
        self._waiting: list[bytes] = []

    def groups(self) -> set[int]:
        """The groups that are in it."""
        return {number for (number,) in self._database.execute("SELECT number FROM groups")}

    @property
    def next_seq(self) -> int:
        """Number of the record that it expects next; 0 before the first."""
        return self._next

    def add_block(self, first: int, records: Sequence[bytes]) -> None:
        """Take in records that follow each other, in any portions; a gap costs the group that it lies in.

        An index that cannot be written is logged and left as it is: no record ever waits for it.

        Args:
            first: Number of the first of them.
            records: Their stored bytes.
        """
        if first != self._next:
            self._next, self._growing, self._waiting = first, None, []
        begin = 0
        while begin < len(records):
            if self._growing is None and (self._next - 1) % GROUP_RECORDS == 0:
                self._growing = _Group(group_of(self._next))
            end = begin + BLOCK_RECORDS - (self._next - 1) % BLOCK_RECORDS
            part = records[begin:end]
            begin += len(part)
            self._next += len(part)
            if self._growing is not None:
                self._waiting += part
                if len(self._waiting) == BLOCK_RECORDS:
                    self._growing.add(self._waiting)
                    self._waiting = []
                    if self._growing.is_full:
                        self._write(self._growing)
                        self._growing = None

    def add_group(self, group: int, blocks: Iterable[Sequence[bytes]]) -> None:
        """Take in a whole group, wherever the records that come next belong."""
        made = _Group(group)
        for block in blocks:
            made.add(block)
        if made.is_full:
            self._write(made)

    def close(self) -> None:
        """Close it; a group that is not complete is read from the records when it is needed again."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, made: _Group) -> None:
        group = made.number
        times, ids = array("q", made.times).tobytes(), array("I", sorted(made.ids)).tobytes()
        known = [time for time in made.times if time]
        oldest, newest = min(known, default=0), max(known, default=0)
        sums = (_blob_sum(times, group, oldest, newest), _blob_sum(ids, group))
        postings = [
            (group, term, blocks, _checksum(group, term, blocks))
            for term, blocks in sorted(made.masks.items())
        ]
        try:
            with self._database:
                self._database.execute("DELETE FROM postings WHERE number = ?", (group,))
                self._database.executemany("INSERT INTO postings VALUES (?, ?, ?, ?)", postings)
                self._database.execute(
                    "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (group, oldest, newest, times, ids, *sums),
                )
        except (sqlite3.Error, ValueError) as error:
            log.warning("index.not_written", path=str(self.path), group=group, error=type(error).__name__)


class _Group:
    """What is known of a group that grows, block by block."""

    __slots__ = ("_block", "ids", "masks", "number", "times")

    def __init__(self, number: int) -> None:
        self.number = number
        self.masks: dict[str, int] = {}
        self.ids: list[int] = []
        self.times: list[int] = []
        self._block = 0

    @property
    def is_full(self) -> bool:
        """Whether all its blocks are here."""
        return self._block == GROUP_BLOCKS

    def add(self, records: Sequence[bytes]) -> None:
        """Take in the next block."""
        found = terms_of(records)
        block, masks = self._block, self.masks
        bit = 1 << block
        for term in found.terms:
            masks[term] = masks.get(term, 0) | bit
        fingerprint = id_fingerprint
        self.ids += [fingerprint(name) & _ID_MASK | block for name in found.ids]
        self.times += (found.oldest, found.newest)
        self._block += 1


class BlockHits(NamedTuple):
    """Where records that are asked for can be."""

    first: int
    """Number of the first record of the block."""
    last: int


class IndexReader:
    """Asks the index of one partition; it may be written meanwhile.

    Args:
        folder: The partition's folder.

    Raises:
        IndexDamaged: What is there is no index of ours.
        FileNotFoundError: There is none.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / INDEX_NAME
        if not self.path.is_file() or self.path.is_symlink():
            raise FileNotFoundError(self.path)
        try:
            self._database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S, check_same_thread=False
            )
            _check_format(self._database, self.path)
            self.groups = {number for (number,) in self._database.execute("SELECT number FROM groups")}
        except sqlite3.Error as error:
            raise _damaged(self.path, error) from error

    def hits(self, group: int, wanted: Wanted, *, newest_first: bool = False) -> Iterator[BlockHits]:
        """The blocks of a group, which is in `groups`, that can hold what is wanted.

        Raises:
            IndexDamaged: The index does not hold together.
        """
        try:
            blocks = self._blocks(group, wanted)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            raise _damaged(self.path, error) from error
        start = first_of(group)
        for block in reversed(range(GROUP_BLOCKS)) if newest_first else range(GROUP_BLOCKS):
            if blocks >> block & 1:
                first = start + block * BLOCK_RECORDS
                yield BlockHits(first, first + BLOCK_RECORDS - 1)

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def _blocks(self, group: int, wanted: Wanted) -> int:
        blocks = _ALL_BLOCKS
        if wanted.since or wanted.until:
            blocks = self._blocks_in_time(group, wanted)
        for term in wanted.terms:
            if blocks:
                blocks &= self._blocks_with(group, term)
        if wanted.type_matches is not None and blocks:
            blocks &= self._blocks_of_types(group, wanted)
        if wanted.identifier and blocks:
            blocks &= self._blocks_of_id(group, wanted.identifier)
        return blocks

    def _blocks_with(self, group: int, term: str) -> int:
        row = self._database.execute(
            "SELECT blocks, checksum FROM postings WHERE number = ? AND term = ?", (group, term)
        ).fetchone()
        return 0 if row is None else self._checked(row[0], row[1], group, term)

    def _blocks_of_types(self, group: int, wanted: Wanted) -> int:
        matches = wanted.type_matches
        low = TYPE + wanted.type_prefix
        rows = self._database.execute(
            "SELECT term, blocks, checksum FROM postings WHERE number = ? AND term >= ? AND term < ?",
            (group, low, low + "\U0010ffff"),
        )
        found = 0
        for term, blocks, checksum in rows:
            if matches is None or matches(term[1:]):
                found |= self._checked(blocks, checksum, group, term)
        return found

    def _blocks_in_time(self, group: int, wanted: Wanted) -> int:
        oldest, newest, text, checksum = self._row(
            "SELECT oldest, newest, times, times_checksum FROM groups WHERE number = ?", group
        )
        if checksum != _blob_sum(text, group, oldest, newest) or len(text) != 2 * GROUP_BLOCKS * 8:
            raise ValueError(f"group {group} has a wrong checksum")
        if not wanted.overlaps(oldest, newest):
            return 0
        times = array("q", text)
        return sum(
            1 << block
            for block in range(GROUP_BLOCKS)
            if wanted.overlaps(times[2 * block], times[2 * block + 1])
        )

    def _blocks_of_id(self, group: int, identifier: str) -> int:
        text, checksum = self._row("SELECT ids, ids_checksum FROM groups WHERE number = ?", group)
        if checksum != _blob_sum(text, group) or len(text) % 4:
            raise ValueError(f"group {group} has a wrong checksum")
        ids = array("I", text)
        low = id_fingerprint(identifier) & _ID_MASK
        found = 0
        for place in range(bisect_left(ids, low), len(ids)):
            if ids[place] & _ID_MASK != low:
                break
            found |= 1 << (ids[place] & (GROUP_BLOCKS - 1))
        return found

    def _row(self, query: str, group: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._database.execute(query, (group,)).fetchone()
        if row is None:
            raise ValueError(f"group {group} is missing")
        return row

    @staticmethod
    def _checked(blocks: int, checksum: int, group: int, term: str) -> int:
        if checksum != _checksum(group, term, blocks):
            raise ValueError(f"group {group} has a wrong checksum")
        return blocks


def remove_index(folder: Path) -> None:
    """Throw the index of a partition away."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / (INDEX_NAME + suffix)).unlink(missing_ok=True)


def _prepared(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600, exist_ok=True)
    database = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        if database.execute("SELECT count(*) FROM about").fetchone() == (0,):
            with database:
                database.execute("INSERT INTO about VALUES (?)", (_FORMAT,))
        _check_format(database, path)
    except BaseException:
        with suppress(sqlite3.Error):
            database.close()
        raise
    return database


def _check_format(database: sqlite3.Connection, path: Path) -> None:
    with closing(database.execute("SELECT format FROM about")) as found:
        if found.fetchall() != [(_FORMAT,)]:
            raise _damaged(path, "it has another format")


def _checksum(group: int, term: str, blocks: int) -> int:
    return zlib.crc32(term.encode("utf-8", "replace"), (group << 20 ^ blocks) & 0xFFFFFFFF)


def _blob_sum(text: bytes, *facts: int) -> int:
    return zlib.crc32(text, zlib.crc32(repr(facts).encode()))


def _damaged(path: Path, reason: object) -> IndexDamaged:
    return IndexDamaged(
        f"the index {path} cannot be used: {reason}", hint="mas audit reindex", path=str(path)
    )
