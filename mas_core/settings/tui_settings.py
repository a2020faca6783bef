"""The section `tui` of mas.yaml: the dashboard of this project."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Keys = Annotated[str, Field(min_length=1, max_length=100)]


class TuiSettings(BaseModel):
    """How the dashboard is used."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    keys: dict[str, _Keys] = {}
    """Other keys than the usual ones, by the names that `mas tui keys` lists: `row.actions: x`."""
