"""Keeps the indexes of an evidence folder beside whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.index import GROUP_RECORDS, Index, first_of, group_of
from mas_core.audit.record_files import RecordFiles
from mas_core.audit.search import index_group, missing_groups
from mas_core.base.logs import get_logger

log = get_logger(__name__)

BEHIND_AT_ONCE: Final = 1
"""Groups that the index lacks and that are made up for with each portion of new records."""


class _Numbered(msgspec.Struct):
    seq: int


_read_number = msgspec.json.Decoder(_Numbered).decode


@dataclass
class _Kept:
    index: Index
    behind: Iterator[int]
    files: RecordFiles


class IndexKeeper:
    """Feeds the index of each partition with what is taken into the folder.

    What the index lacks, because it was lost or is new, is made up for bit by bit, so that nothing waits for it.

    Args:
        folder: The evidence folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[int, _Kept] = {}

    def take(self, partition: int, records: Sequence[bytes]) -> None:
        """Records that are in the folder now, oldest first."""
        if not records:
            return
        first = _read_number(records[0]).seq
        kept = self._kept.get(partition)
        if kept is not None and first < kept.index.next_seq:
            # The log began anew, in a folder of its own.
            kept.index.close()
            kept = None
        if kept is None:
            kept = self._kept[partition] = self._opened(partition, first)
        kept.index.add_block(first, records)
        for group in _some(kept.behind, BEHIND_AT_ONCE):
            index_group(kept.files, group, kept.index)

    def take_segment(self, segment: object) -> None:
        """Nothing of the index depends on where a record lies."""

    def close(self) -> None:
        """Close the indexes; what is not complete is made up for later."""
        for kept in self._kept.values():
            kept.index.close()
        self._kept.clear()

    def _opened(self, partition: int, first: int) -> _Kept:
        index = Index(self._folder / f"p{partition}")
        files = RecordFiles(
            self._folder,
            partition,
            lambda text: log.warning("index.behind", partition=partition, reason=text),
        )
        start = first_of(group_of(first))
        index.add_block(start, [text for _, text in files.read(start, first - 1)])
        behind = [group for group in missing_groups(files, index) if first_of(group) + GROUP_RECORDS <= first]
        return _Kept(index, iter(behind), files)


def _some(groups: Iterator[int], count: int) -> Iterator[int]:
    for _ in range(count):
        group = next(groups, None)
        if group is None:
            return
        yield group
