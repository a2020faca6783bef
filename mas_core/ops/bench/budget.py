"""Budgets of a measurement: `p99<5ms`, `rate>10000`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mas_core.errors import UsageError

_BUDGET = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s)?\s*")
_IN_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_ENDINGS = ("", "_ms", "_per_s", "_us_per_message")


@dataclass(frozen=True, slots=True)
class Budget:
    """One bound on one figure."""

    text: str
    figure: str
    """Such as `p99`: what stands before the unit in the name of the figure."""
    is_ceiling: bool
    includes_bound: bool
    bound: float
    unit: str
    """us, ms or s; empty for figures that are no times."""

    def field_of(self, result: Mapping[str, object]) -> str:
        """The name of the figure in a result.

        Raises:
            UsageError: The result has no such figure, or it is no time and the bound is one.
        """
        for ending in _ENDINGS:
            name = self.figure + ending
            if isinstance(result.get(name), int | float):
                if self.unit and not name.endswith("_ms"):
                    raise UsageError(f"the budget {self.text!r} gives a time, and {self.figure} is none")
                return name
        raise UsageError(
            f"the budget {self.text!r} names no figure of this measurement",
            hint=f"figures: {', '.join(figures_of(result))}",
        )

    @property
    def bound_ms(self) -> float:
        """The bound in the unit of results: milliseconds for a time."""
        return self.bound * _IN_MS.get(self.unit, 1.0)

    def is_kept(self, result: Mapping[str, object]) -> bool:
        """Whether a result stays within this bound; raises as `field_of` does."""
        value = result[self.field_of(result)]
        if not isinstance(value, int | float):
            return False
        bound = self.bound_ms
        if value == bound:
            return self.includes_bound
        return value < bound if self.is_ceiling else value > bound


def parse_budget(text: str) -> Budget:
    """A budget as it is typed.

    Raises:
        UsageError: It is none.
    """
    match = _BUDGET.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no budget", hint="budgets look like p99<5ms, rate>10000 or lost<=0")
    figure, relation, bound, unit = match.groups()
    return Budget(text.strip(), figure, relation[0] == "<", relation.endswith("="), float(bound), unit or "")


def figures_of(result: Mapping[str, object]) -> list[str]:
    """The names that a budget can bound."""
    names = []
    for name, value in result.items():
        if isinstance(value, int | float):
            ending = next((item for item in _ENDINGS[1:] if name.endswith(item)), "")
            names.append(name.removesuffix(ending))
    return names
