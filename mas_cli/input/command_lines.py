"""A command line as it may be recorded: what was typed, without secrets and payloads."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from mas_core.settings.masking import MASK, is_secret, mask_url

CONTENT: Final = frozenset(
    {"value", "payload", "fields", "json_fields", "data", "text", "headers", "erased_subject", "subject_flag"}
)
"""Parameters that hold contents of messages and states, or name whom nothing may name any more."""
MAX_WORDS: Final = 200


def recordable(name: str, words: Iterable[str], values: Mapping[str, object]) -> str:
    """The command line of `mas NAME`.

    Args:
        name: The words of the command.
        words: What was typed behind it.
        values: Its parameters as they were understood.
    """
    hidden = {text for key, value in values.items() if key in CONTENT for text in _texts(value)}
    shown: list[str] = []
    is_value_of_secret = False
    for word in list(words)[:MAX_WORDS]:
        flag, equals, value = word.partition("=")
        if is_value_of_secret or word in hidden:
            shown.append(MASK)
        elif equals and flag.startswith("-") and (_is_secret(flag) or value in hidden):
            shown.append(f"{flag}={MASK}")
        else:
            shown.append(mask_url(word))
        is_value_of_secret = word.startswith("--") and not equals and _is_secret(word)
    return shlex.join(["mas", *name.split(), *shown])


def _is_secret(flag: str) -> bool:
    return is_secret(flag.replace("-", "_"))


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [str(item) for item in value] if isinstance(value, list | tuple) else []
