"""The first look: whether payloads can hold anything at all, told from their JSON text.

Two automata run over the texts of a whole batch put together. They hold a JSON form of every pattern and of
everything that makes a close look necessary (encodings, unusual characters), so what they let pass is clean:
a close look at the tree would find nothing. What they do not let pass is not yet found, only suspected.
Texts with escapes or beyond ASCII are first written as a reader sees them, where that is cheap and sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import re2

from mas_core.security.dlp.context import context_pattern
from mas_core.security.dlp.layers import LAYERS
from mas_core.security.dlp.normalise import fold_beyond_ascii
from mas_core.security.dlp.patterns import INNER_QUOTE, json_form
from mas_core.security.dlp.rules import Rule

AUTOMATON_BYTES: Final = 64 << 20
CHUNK: Final = 16
"""Texts that are looked at together when a batch is under suspicion."""

_MARK: Final = "\n"
_ALWAYS: Final = {
    "an escape that is not undone here": r"\\",
    "controls": r"[\x00\x01\x03-\x08\x0b\x0c\x0e-\x1f\x7f]",
    "a whole number with an exponent": r"[:,\[\n]-?[0-9](?:\.[0-9]+)?e[0-9]",
} | {name: layer.json_hint for name, layer in LAYERS.items()}


class EngineError(RuntimeError):
    """The automaton gave no answer."""


class FirstLook:
    """Tells texts that are clean from those that need a close look.

    Args:
        rules: What is looked for.

    Raises:
        UntranslatableError: The pattern of a rule cannot be written for JSON text.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        words = [json_form(context_pattern(rule)) for rule in rules if rule.context]
        patterns = [
            json_form(rule.pattern, rule.cut, in_groups=bool(rule.validator))
            for rule in rules
            if not rule.context
        ]
        turned = [json_form(rule.backwards) for rule in rules if rule.backwards]
        # The states of one automaton for all would multiply on random text, where these two are seldom busy
        # at the same place.
        self._automata = (_automaton([*_ALWAYS.values(), *words]), _automaton([*patterns, *turned]))

    def suspects(self, texts: Sequence[bytes]) -> Sequence[int]:
        """Indexes of the texts that need a close look, in order; all others are clean.

        Args:
            texts: Payloads as `encode_json` writes them: compact, with only the escapes that JSON demands.

        Raises:
            EngineError: The automaton gave up.
        """
        if not self._may_hold(b"\n".join(texts)):
            return ()
        return tuple(self._found(texts))

    def _found(self, texts: Sequence[bytes]) -> Iterator[int]:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            if len(texts) <= CHUNK or self._may_hold(b"\n".join(chunk)):
                for index, text in enumerate(chunk, start):
                    if len(texts) == 1 or self._may_hold(text):
                        yield index

    def _may_hold(self, text: bytes) -> bool:
        if b"\\" in text:
            if b"\\\\" in text:
                return True
            # Without a backslash that stands for itself, each one begins an escape.
            text = text.replace(b'\\"', INNER_QUOTE.encode()).replace(b"\\n", b"\n").replace(b"\\t", b"\t")
        if not text.isascii():
            text = fold_beyond_ascii(text.decode(), INNER_QUOTE).encode()
        text += b"\n"
        for automaton in self._automata:
            found = automaton.Match(text)
            if not found:
                raise EngineError
            if len(found) > 1:
                return True
        return False


def _automaton(patterns: Iterable[str]) -> re2.Set:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = AUTOMATON_BYTES
    automaton = re2.Set.SearchSet(options)
    # The end is always found, so an empty answer means that the automaton gave up.
    automaton.Add(_MARK + r"\z")
    for pattern in dict.fromkeys(patterns):
        automaton.Add(pattern)
    automaton.Compile()
    return automaton
