"""A line to type in. What stands in it may have come from the wire, so it is shown like everything else: safe."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Input

from mas_cli.output.safe_text import one_for_one


class TypedLine(Input):
    """An input whose every character is seen as exactly one, so that the cursor stands where it seems to."""

    @property
    def _value(self) -> Text:
        if self.password:
            return super()._value
        return Text(one_for_one(self.value), no_wrap=True, overflow="ignore", end="")
