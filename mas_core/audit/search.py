"""Searches the records in a partition's folder, newest or oldest first, by the index where there is one.

The index only says where to look. Where it lacks something or is damaged the records themselves are searched,
and a damage is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mas_core.audit.chain import decode_record
from mas_core.audit.index import (
    BLOCK_RECORDS,
    GROUP_RECORDS,
    BlockHits,
    Index,
    IndexReader,
    first_of,
    group_of,
)
from mas_core.audit.record_files import RecordFiles, Span, Warn
from mas_core.audit.terms import Wanted
from mas_core.errors import IndexDamaged
from mas_core.model.audit_record import AuditRecord

Matches = Callable[[AuditRecord], bool]


def search(
    files: RecordFiles,
    span: Span,
    wanted: Wanted,
    matches: Matches,
    warn: Warn,
    *,
    newest_first: bool = False,
    use_index: bool = True,
) -> Iterator[list[tuple[bytes, AuditRecord]]]:
    """The records of a span that match, some at a time; an empty list now and then, so that others get a turn.

    Args:
        files: Where the records are.
        span: Which of them.
        wanted: What the index is asked for; all that `matches` must be among it.
        matches: Whether a record is wanted.
        warn: Told in words when the index cannot be used.
        newest_first: In which order.
        use_index: Whether the index is asked at all.
    """
    index = _opened(files.path, warn) if use_index and wanted != Wanted() else None
    needle = wanted.needle
    groups = range(group_of(span.first), group_of(span.last) + 1)
    try:
        for group in reversed(groups) if newest_first else groups:
            blocks, index = _blocks(index, group, wanted, warn, newest_first=newest_first)
            for block in blocks:
                first, last = max(block.first, span.first), min(block.last, span.last)
                if first <= last:
                    yield _matching(files, Span(first, last), matches, needle, newest_first=newest_first)
            yield []
    finally:
        if index is not None:
            index.close()


def missing_groups(files: RecordFiles, index: Index) -> list[int]:
    """The groups whose records are all here and that the index lacks, the newest first."""
    known = index.groups()
    return [
        group
        for span in reversed(files.spans)
        for group in reversed(range(group_of(span.first + GROUP_RECORDS - 1), group_of(span.last + 1)))
        if group not in known
    ]


def index_group(files: RecordFiles, group: int, index: Index) -> None:
    """Take a group of the records into the index; one that cannot be read as a whole is left out."""
    blocks = []
    for block in _whole_group(group):
        found = files.read(*block)
        if len(found) < BLOCK_RECORDS:
            return
        blocks.append([text for _, text in found])
    index.add_group(group, blocks)


def _opened(folder: Path, warn: Warn) -> IndexReader | None:
    try:
        return IndexReader(folder)
    except FileNotFoundError:
        return None
    except IndexDamaged as error:
        warn(f"{error.message}; all records are searched")
        return None


def _blocks(
    index: IndexReader | None, group: int, wanted: Wanted, warn: Warn, *, newest_first: bool
) -> tuple[list[BlockHits], IndexReader | None]:
    if index is not None and group in index.groups:
        try:
            return list(index.hits(group, wanted, newest_first=newest_first)), index
        except IndexDamaged as error:
            warn(f"{error.message}; all records are searched")
            index.close()
            index = None
    blocks = _whole_group(group)
    return blocks[::-1] if newest_first else blocks, index


def _whole_group(group: int) -> list[BlockHits]:
    start = first_of(group)
    return [
        BlockHits(first, first + BLOCK_RECORDS - 1)
        for first in range(start, start + GROUP_RECORDS, BLOCK_RECORDS)
    ]


def _matching(
    files: RecordFiles, span: Span, matches: Matches, needle: bytes, *, newest_first: bool
) -> list[tuple[bytes, AuditRecord]]:
    """The records of a block that match, in order; of each block at least its ends are looked at."""
    likely = _likely(files, span, needle)
    if newest_first:
        likely.reverse()
    found = []
    for text in likely:
        try:
            record = decode_record(text)
        except (ValueError, RecursionError):
            continue
        if matches(record):
            found.append((text, record))
    return found


def _likely(files: RecordFiles, span: Span, needle: bytes) -> list[bytes]:
    """The first and the last record of a block, and those between that can match.

    Decoding costs most of a search. Where nothing is escaped, what is asked for stands in a record as it is.
    """
    whole = files.text(*span) if needle else None
    if whole is None or b"\\" in whole:
        texts = [text for _, text in files.read(*span)]
        between = [text for text in texts[1:-1] if needle in text or b"\\" in text]
        return [*texts[:1], *between, *texts[1:][-1:]]
    end = whole.index(b"\n")
    last = whole.rindex(b"\n", 0, -1) + 1
    likely = [whole[:end]]
    while (place := whole.find(needle, end, last)) >= 0:
        begin = whole.rindex(b"\n", 0, place) + 1
        end = whole.index(b"\n", place)
        likely.append(whole[begin:end])
    likely.append(whole[last:-1])
    return likely
