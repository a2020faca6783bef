"""A copy of one partition's audit records as JSON Lines: the stored bytes, in order, each once.

The file itself says how far it got, so a copy goes on where it stopped, whoever writes it. The records in it form
the chain of the partition from the first one on, and can be verified like the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.chain import record_hash
from mas_core.audit.sinks.lines_file import LinesFile, OpenLines
from mas_core.base.logs import get_logger
from mas_core.errors import SinkBehind, SinkUnavailable

log = get_logger(__name__)

MAX_UNCOMMITTED: Final = 4096
"""Records that a gateway may have written for a batch that was not committed."""


class _Link(msgspec.Struct):
    seq: int
    prev: str


_read_link = msgspec.json.Decoder(_Link).decode


def file_of(path: Path, partition: int, partitions: int) -> Path:
    """The file of one partition: `path` where there is only one, else one with `-p<number>` in its name."""
    return path if partitions == 1 else path.with_name(f"{path.stem}-p{partition}{path.suffix}")


class RecordFile:
    """The copy of one partition.

    Args:
        path: The file.
        max_bytes: Size at which a new one is started.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._lines = LinesFile(path, max_bytes)
        self._epochs = LinesFile(path.with_name(f".{path.name}.epoch"))

    def last_seq(self) -> int:
        """Number of the last record; 0 when there is none.

        Raises:
            SinkUnavailable: The file cannot be read.
        """
        try:
            line = self._lines.last_line()
        except OSError as error:
            raise self._unavailable(error) from error
        return self._link(line).seq if line else 0

    def _last_full_seq(self) -> int:
        """Number of the last record in the full files; 0 when there is none."""
        line = self._lines.last_full_line()
        return self._link(line).seq if line else 0

    def append(self, records: Sequence[bytes], *, sync: bool = False) -> int:
        """Append those of consecutive records that are not there yet; how many.

        Raises:
            SinkBehind: Records before them are missing; says which one is the last.
            SinkUnavailable: The file does not take them.
        """
        if not records:
            return 0
        last = self.last_seq()
        first = self._link(records[0]).seq
        if last and first > last + 1:
            raise SinkBehind(f"{self.path} ends with record {last}, not {first - 1}", last_seq=last)
        return self._write(lambda _: records[max(0, last + 1 - first) if last else 0 :], sync=sync)

    def write_ahead(self, records: Sequence[bytes], epoch: int) -> None:
        """Write records that are about to be committed; when this returns, they are on the disk.

        Records of a batch that was written and never committed go to a file beside this one, so that this one
        holds the chain and nothing else.

        Args:
            records: The next records of the chain.
            epoch: Of the owner; one with a lower epoch than another's before writes nothing.

        Raises:
            SinkBehind: Records before them are missing.
            SinkUnavailable: The file does not take them, or another owner has written to it since.
        """
        first = self._link(records[0])

        def choose(file: OpenLines) -> Sequence[bytes]:
            self._check_epoch(epoch)
            if file.size:
                self._set_aside(file, first)
            elif (last := self._last_full_seq()) and last != first.seq - 1:
                raise SinkBehind(f"{self.path} ends with record {last}", last_seq=last)
            return records

        self._write(choose, sync=True)

    def _set_aside(self, file: OpenLines, first: _Link) -> None:
        """Take out what stands after the record that `first` continues."""
        for count, (start, line) in enumerate(file.lines_backwards()):
            if record_hash(line) == first.prev:
                if count:
                    end = start + len(line) + 1
                    aside = LinesFile(self.path.with_name(f"{self.path.name}.uncommitted"))
                    aside.append(file.read_from(end).splitlines(), sync=True)
                    file.cut(end)
                return
            last = self._link(line).seq
            if count == 0 and last < first.seq - 1:
                raise SinkBehind(f"{self.path} ends with record {last}", last_seq=last)
            if count >= MAX_UNCOMMITTED or last < first.seq - 1:
                break
        raise SinkUnavailable(
            f"{self.path} holds other records than the store before record {first.seq}",
            hint=("mas audit verify", f"mv {self.path} {self.path}.before"),
            path=str(self.path),
        )

    def _check_epoch(self, epoch: int) -> None:
        known = self._epochs.last_line()
        if known.isdigit() and int(known) > epoch:
            raise SinkUnavailable(f"another gateway writes {self.path} now", path=str(self.path))
        if known != b"%d" % epoch:
            self._epochs.append([b"%d" % epoch], sync=True)

    def _write(self, choose: object, *, sync: bool) -> int:
        try:
            return self._lines.append(choose, sync=sync)  # type: ignore[arg-type]
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> SinkUnavailable:
        reason = error.strerror or str(error)
        return SinkUnavailable(
            f"{self.path} cannot be written: {reason}", hint=f"df {self.path.parent}", path=str(self.path)
        )

    def _link(self, record: bytes) -> _Link:
        try:
            return _read_link(record)
        except (ValueError, RecursionError) as error:
            raise SinkUnavailable(
                f"{self.path} holds a line that is no record",
                hint=f"mv {self.path} {self.path}.before",
                path=str(self.path),
            ) from error
