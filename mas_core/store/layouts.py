"""The layout in force: how many partitions there are, read from the store and followed when it changes."""

from __future__ import annotations

from collections.abc import Mapping

from mas_core.store.connection import Connection
from mas_core.store.keys import MAX_PARTITIONS, Keys, Layout
from mas_core.store.stored import hash_of


class Layouts:
    """Reads the layout of one system. Where none is stored, that of the settings is in force."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def read(self) -> Layout:
        """What the store says."""
        fields = hash_of(await self._connection.call("HGETALL", self._keys.layout_record()))
        return layout_of(fields) or self._keys.layout

    async def follow(self) -> Layout:
        """Take over what the store says, if it is not being changed just now."""
        found = await self.read()
        if not found.next and found.number != self._keys.layout.number:
            self._keys.follow(found)
        return found


def layout_of(fields: Mapping[str, bytes]) -> Layout | None:
    """The layout that is stored in these fields; None when there is none."""
    try:
        number, partitions, width = (int(fields[name]) for name in ("number", "partitions", "width"))
        following = int(fields.get("next", b"0") or 0)
    except (KeyError, ValueError):
        return None
    is_possible = (
        number > 0 and 0 < partitions <= width <= MAX_PARTITIONS and 0 <= following <= MAX_PARTITIONS
    )
    return Layout(number, partitions, width, following) if is_possible else None
