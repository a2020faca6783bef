"""A bounded memory of answers of which nobody can take more than a share.

Whoever asks for something new each time pushes out only what they asked for before.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

Answer = TypeVar("Answer")

SHARE: Final = 512
"""Answers kept for one asker."""
MAX_ANSWERS: Final = 65_536
"""Answers kept for all askers together."""


class FairCache(Generic[Answer]):
    """Answers by a key whose first part is who asks; read them with `answers.get`.

    Args:
        share: How many are kept for one asker.
        most: How many are kept for all together; when that is not enough all are forgotten.
    """

    __slots__ = ("_keys", "_most", "_share", "answers")

    def __init__(self, share: int = SHARE, most: int = MAX_ANSWERS) -> None:
        self._share = share
        self._most = most
        self._keys: dict[str, deque[tuple[str, ...]]] = {}
        self.answers: dict[tuple[str, ...], Answer] = {}
        """What is kept; only to be read."""

    def keep(self, key: tuple[str, ...], answer: Answer) -> None:
        """Keep an answer, in place of the asker's oldest one if there are too many."""
        if key not in self.answers:
            if len(self.answers) >= self._most:
                self.answers.clear()
                self._keys.clear()
            keys = self._keys.setdefault(key[0], deque())
            if len(keys) >= self._share:
                del self.answers[keys.popleft()]
            keys.append(key)
        self.answers[key] = answer
