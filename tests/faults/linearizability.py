"""Whether a history of a register is linearizable, by the search of Wing and Gong with the memory of Lowe.

J. M. Wing, C. Gong: Testing and verifying concurrent objects, JPDC 17 (1993); G. Lowe: Testing for linearizability,
Concurrency and Computation 29 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = math.inf
"""Return of an operation of which nobody knows whether it took effect."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call; times are of one clock that all processes share."""

    called: float
    returned: float
    """`UNKNOWN` when no answer came."""
    is_write: bool
    value: object
    """What was written, or what was read."""


def is_linearizable(history: Sequence[Operation], initial: object = None) -> bool:
    """Whether all operations could have happened at one moment each, between call and return.

    Operations whose return is unknown may have happened at any time after their call, or never.
    """
    operations = sorted(history, key=lambda operation: operation.called)
    is_open = [True] * len(operations)
    seen: set[tuple[int, object]] = set()
    done = 0
    value = initial
    path: list[tuple[int, object, int]] = []
    left = sum(operation.returned != UNKNOWN for operation in operations)
    at = 0
    while left:
        found = _next(operations, is_open, at, value)
        if found is not None:
            operation = operations[found]
            after = operation.value if operation.is_write else value
            key = (done | 1 << found, after)
            if key not in seen:
                seen.add(key)
                path.append((found, value, done))
                is_open[found] = False
                done, value = key
                left -= operation.returned != UNKNOWN
                at = 0
                continue
            at = found + 1
            continue
        if not path:
            return False
        found, value, done = path.pop()
        is_open[found] = True
        left += operations[found].returned != UNKNOWN
        at = found + 1
    return True


def _next(operations: Sequence[Operation], is_open: Sequence[bool], at: int, value: object) -> int | None:
    """The first operation from `at` on that may come next: none that is open returned before its call."""
    earliest = math.inf
    for index, operation in enumerate(operations):
        if not is_open[index]:
            continue
        if operation.called > earliest:
            return None
        earliest = min(earliest, operation.returned)
        if index >= at and (operation.is_write or operation.value == value):
            return index
    return None
