"""Lines to type in. What stands in them may have come from the wire, so it is shown like all else: safe."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Input, TextArea

from mas_cli.output.safe_text import one_for_one


class TypedLine(Input):
    """An input whose every character is seen as exactly one, so that the cursor stands where it seems to."""

    @property
    def _value(self) -> Text:
        if self.password:
            return super()._value
        return Text(one_for_one(self.value), no_wrap=True, overflow="ignore", end="")


class TypedLines(TextArea):
    """Several lines, shown as `TypedLine` shows one."""

    DEFAULT_CSS = """
    TypedLines { height: 10; border: none; padding: 0; background: $boost; }
    TypedLines:focus { border: none; }
    """

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn."""
        return Text(one_for_one(self.document.get_line(line_index)), no_wrap=True, end="")
