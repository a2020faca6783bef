"""Audit records as Apache Parquet: a column for each field, and the stored bytes beside them.

Needs pyarrow (the extra `[parquet]`). Row groups are written as they fill, so memory does not grow.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mas_core.errors import UnknownFormat
from mas_core.model.audit_record import AuditRecord

if TYPE_CHECKING:
    from types import ModuleType

ROW_GROUP: Final = 16_384
"""Rows that are held until they are written."""
_NUMBERS: Final = ("seq", "size", "waited_ms")
_MAX_TIME: Final = 1 << 52


class ParquetEncoder:
    """An export as Parquet; times are UTC, findings and details are JSON, `stored` are the bytes that were hashed.

    Raises:
        UnknownFormat: pyarrow is not installed.
    """

    is_resumable = False

    def __init__(self) -> None:
        self._arrow, parquet = _libraries()
        fields = [("partition", self._arrow.int32()), ("place", self._arrow.int64())]
        fields += [(name, self._type_of(name)) for name in AuditRecord.__struct_fields__]
        self._schema = self._arrow.schema([*fields, ("stored", self._arrow.binary())])
        self._out = _Drained()
        self._writer = parquet.ParquetWriter(self._out, self._schema, compression="zstd")
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self.start = self._out.take()

    def rows(self, partition: int, found: Sequence[tuple[int, bytes, AuditRecord | None]]) -> bytes:
        """Take in some rows; gives what is complete of the file."""
        columns = self._columns
        for seq, text, record in found:
            columns["partition"].append(partition)
            columns["place"].append(seq)
            columns["stored"].append(text)
            for name in AuditRecord.__struct_fields__:
                columns[name].append(None if record is None else _value(name, getattr(record, name)))
        if len(columns["place"]) >= ROW_GROUP:
            self._write()
        return self._out.take()

    def finish(self) -> bytes:
        """The rest of the file."""
        if self._columns["place"]:
            self._write()
        self._writer.close()
        return self._out.take()

    def _write(self) -> None:
        self._writer.write_table(self._arrow.table(self._columns, schema=self._schema))
        for values in self._columns.values():
            values.clear()

    def _type_of(self, name: str) -> Any:
        if name == "time":
            return self._arrow.timestamp("ms", tz="UTC")
        return self._arrow.int64() if name in _NUMBERS else self._arrow.string()


class _Drained(io.RawIOBase):
    """A file that is only appended to; what was written is taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UnknownFormat(
            "Parquet needs pyarrow, which is not installed", hint="pip install 'mas[parquet]'"
        ) from None
    return pa, parquet


def _value(name: str, value: object) -> object:
    if name == "time" and isinstance(value, int):
        return value if abs(value) < _MAX_TIME else None
    if name in _NUMBERS and isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, str):
        return value
    if not value:
        return ""
    return msgspec.json.encode(value).decode()
