"""The rows: every module in this folder with a list `ROWS` takes part.

A list `INJECTIONS` of `tests.faults.injections.Injection` takes part in the soak.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from tests.faults.injections import INJECTIONS, Injection
from tests.faults.outcome import Row, sort_key


def all_rows() -> dict[str, Row]:
    """Name -> row, in the order of the table.

    Raises:
        ValueError: Two rows have one name.
    """
    found: dict[str, Row] = {}
    for module in _modules():
        for row in getattr(module, "ROWS", ()):
            if row.name in found:
                raise ValueError(f"there are two rows {row.name}")
            found[row.name] = row
    return dict(sorted(found.items(), key=lambda item: sort_key(item[0])))


def all_injections() -> list[Injection]:
    """Everything that can happen in a soak."""
    return [*INJECTIONS, *(item for module in _modules() for item in getattr(module, "INJECTIONS", ()))]


def _modules() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(__path__):
        yield importlib.import_module(f"{__name__}.{module.name}")
