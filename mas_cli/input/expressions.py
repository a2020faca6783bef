"""JMESPath expressions over what a command shows: --until, --where, --expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mas_core.errors import UsageError

Condition = Callable[[object], bool]


def parse_condition(text: str, flag: str) -> Condition:
    """Whether an expression is true of a value: neither false, null, nor empty. A number is true, 0 included.

    Raises:
        UsageError: It is no expression.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        compiled: Any = jmespath.compile(text)
    except (JMESPathError, RecursionError) as error:
        raise _wrong(text, flag, error) from None

    def holds(value: object) -> bool:
        try:
            found = compiled.search(value)
        except (JMESPathError, RecursionError) as error:
            raise _wrong(text, flag, error) from None
        return found is not None and found is not False and found not in ("", [], {})

    return holds


def _wrong(text: str, flag: str, error: Exception) -> UsageError:
    reason = str(error).partition("\n")[0].rstrip(":. ") or "it nests too deeply"
    return UsageError(f"{flag}: {text!r} is no JMESPath expression: {reason}", hint="mas help expressions")
