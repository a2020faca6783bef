"""The rows: every module in this folder with a list `ROWS` takes part."""

from __future__ import annotations

import importlib
import pkgutil

from tests.faults.outcome import Row, sort_key


def all_rows() -> dict[str, Row]:
    """Name -> row, in the order of the table.

    Raises:
        ValueError: Two rows have one name.
    """
    found: dict[str, Row] = {}
    for module in pkgutil.iter_modules(__path__):
        for row in getattr(importlib.import_module(f"{__name__}.{module.name}"), "ROWS", ()):
            if row.name in found:
                raise ValueError(f"there are two rows {row.name}")
            found[row.name] = row
    return dict(sorted(found.items(), key=lambda item: sort_key(item[0])))
