"""Filters in the Common Expression Language, such as `data.amount > 100 && type == "order.created"`.

An expression sees `type`, `source`, `topic`, `id`, `time` (Unix milliseconds), `data` and `extensions`.
Source: https://github.com/google/cel-spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, FilterInvalid
from mas_core.model.event import Event

log = get_logger(__name__)

MAX_LENGTH: Final = 4_000
_MAX_BRACKETS: Final = 200
_READERS: Final[Mapping[str, Callable[[Event], object]]] = {
    "type": lambda event: str(event.type),
    "source": lambda event: event.source,
    "topic": lambda event: event.topic,
    "id": lambda event: event.id,
    "time": lambda event: event.time,
    "data": lambda event: event.data,
    "extensions": lambda event: dict(event.extensions),
}
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_EXPECTING: Final = re.compile(r" expecting .*")


class Undecided(Exception):
    """An event has not what an expression asks about: a missing key, another type, an unknown name."""


class Expression:
    """A compiled expression.

    Args:
        source: What it says.

    Raises:
        FilterInvalid: It does not compile; `details` has the line and the column.
        ConfigurationError: The library for it is not installed.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_LENGTH or sum(source.count(sign) for sign in "([{?") > _MAX_BRACKETS:
            raise FilterInvalid(
                f"an expression has at most {MAX_LENGTH} characters and {_MAX_BRACKETS} brackets",
                line=1,
                column=1,
            )
        try:
            # It takes a tenth of a second, and few filters are expressions.
            import cel  # noqa: PLC0415
        except ModuleNotFoundError:
            raise ConfigurationError(
                "filters that are expressions need the package common-expression-language",
                hint="pip install common-expression-language",
            ) from None
        try:
            program = cel.compile(source)
        except BaseException as error:
            # A parser that fails has not understood it, however it fails.
            if not (isinstance(error, Exception) or _is_panic(error)):
                raise
            raise _refusal(source, str(error)) from None
        names = set(program.variables())
        self.source = source
        self.unknown_names: tuple[str, ...] = tuple(sorted(names - _READERS.keys()))
        """Names that no event has, so that the expression most likely never matches."""
        self._run = program.execute
        # What is handed over is copied, which costs more than most expressions.
        self._readers = tuple((name, read) for name, read in _READERS.items() if name in names)
        if self.unknown_names:
            log.warning("filter_with_unknown_names", names=list(self.unknown_names))

    def __call__(self, event: Event) -> bool:
        """Whether an event matches.

        Raises:
            Undecided: The event has not what is asked about.
            ArithmeticError: It divides by zero, or numbers become too large.
            RuntimeError: It calls a function wrongly.
            TypeError: The expression says something else than true or false.
        """
        try:
            found = self._run({name: read(event) for name, read in self._readers})
        except (LookupError, TypeError) as error:
            raise Undecided(str(error)[:200]) from None
        except RuntimeError as error:
            if str(error).startswith("Undefined"):
                raise Undecided(str(error)[:200]) from None
            raise
        except BaseException as error:
            if _is_panic(error):
                raise RuntimeError(f"the library failed: {str(error)[:200]}") from None
            raise
        if found is True or found is False:
            return found
        raise TypeError("the expression says neither true nor false")


def _is_panic(error: BaseException) -> bool:
    """Panics of libraries in Rust are no `Exception`, so nothing that catches errors would stop them."""
    return type(error).__name__ == "PanicException"


def _refusal(source: str, text: str) -> FilterInvalid:
    found = _PLACE.search(text)
    line, column, why = (int(found[1]), int(found[2]), found[3]) if found else (1, 1, "it cannot be parsed")
    why = _EXPECTING.sub("", why)[:120]
    shown = source if len(source) <= 80 else f"{source[:77]}..."
    return FilterInvalid(
        f"the filter {shown!r} does not compile: {why} (line {line}, column {column})",
        hint="""filters look like data.amount > 100 && type == "order.created\"""",
        line=line,
        column=column,
    )
