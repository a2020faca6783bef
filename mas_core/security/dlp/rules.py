"""Rules: what is looked for, and what is done about it."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

Category = Literal["pii", "phi", "pci", "secret", "custom"]
Severity = Literal["low", "medium", "high", "critical"]

CATEGORIES: Final = frozenset(get_args(Category))
PLAIN_ACTIONS: Final = ("block", "redact", "alert", "off")
ENCRYPT: Final = "encrypt:"
_ACTION: Final = re.compile(r"block|redact|alert|off|encrypt:[a-z0-9][a-z0-9_-]{0,62}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of sensitive data and how it is recognised.

    The pattern is RE2 and runs over normalised text in which a key ends with U+001F and a value with U+001E.
    When it has groups, the first that took part is the sensitive part and the rest only its surroundings.
    """

    id: str
    """Names the kind; lower case letters, digits and `_`."""
    category: Category
    pattern: str
    action: str
    """block, redact, alert, off, or encrypt:NAME of a key in the policy."""
    severity: Severity = "medium"
    validator: str = ""
    """Name of a check that a match must pass."""
    context: tuple[str, ...] = ()
    """Words of which one must stand in a key above or near the match; a space fits `_`, `-` or none too."""
    window: int = 40
    """How many characters before and after the match count as near."""
    cut: Literal["never", "strings", "scalars"] = "never"
    """Whether it is also looked for cut into parts: over neighbouring strings, or numbers too.

    What is looked for in parts is looked for backwards and over line ends as well.
    """
    backwards: str = ""
    """The pattern as it looks backwards; made from the pattern when left out."""


def is_action(action: str) -> bool:
    """Whether something can be done that is called so."""
    return _ACTION.fullmatch(action) is not None
