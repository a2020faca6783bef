"""All patterns in one automaton that says which rules to look at, and the search for their spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import re2

from mas_core.security.dlp.context import context_pattern
from mas_core.security.dlp.document import VALUE_END
from mas_core.security.dlp.first_look import AUTOMATON_BYTES, EngineError
from mas_core.security.dlp.packs import QUIET
from mas_core.security.dlp.patterns import hint
from mas_core.security.dlp.rules import Rule

_LONG_MATCH: Final = 128
_NO_SPAN: Final = (-1, -1)

Judge = Callable[[int, int], tuple[int, int] | None]


class Matches(NamedTuple):
    """What may be in a text."""

    rules: tuple[Rule, ...]
    backwards: tuple[Rule, ...]
    hints: frozenset[str]


class Matcher:
    """Finds candidates for rules; whether they count is for validators and context to say.

    Args:
        rules: What to look for.
        hints: Further patterns, by name, that are only reported as present.
    """

    def __init__(self, rules: Sequence[Rule], hints: Mapping[str, str]) -> None:
        self._patterns = {(rule.id, False): re2.compile(rule.pattern, QUIET) for rule in rules} | {
            (rule.id, True): re2.compile(rule.backwards, QUIET) for rule in rules if rule.backwards
        }
        self._contexts = {
            rule.id: re2.compile(context_pattern(rule), QUIET) for rule in rules if rule.context
        }
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = AUTOMATON_BYTES
        self._automaton = re2.Set.SearchSet(options)
        # The end is always found, so an empty answer means that the automaton gave up.
        self._automaton.Add(VALUE_END + r"\z")
        self._by_index: dict[int, Rule] = {}
        self._backwards_by_index: dict[int, Rule] = {}
        for rule in rules:
            pattern = context_pattern(rule) if rule.context else hint(rule.pattern)
            self._by_index[self._automaton.Add(pattern)] = rule
            if rule.backwards:
                self._backwards_by_index[self._automaton.Add(hint(rule.backwards))] = rule
        self._hints = {self._automaton.Add(pattern): name for name, pattern in hints.items()}
        self._automaton.Compile()

    def match(self, text: str) -> Matches:
        """Which rules and hints may be in a text; one pass.

        Raises:
            EngineError: The automaton gave up.
        """
        found = sorted(self._automaton.Match(text + VALUE_END))
        if not found:
            raise EngineError
        if len(found) == 1:
            return Matches((), (), frozenset())
        rules, backwards, hints = self._by_index, self._backwards_by_index, self._hints
        return Matches(
            tuple(rules[index] for index in found if index in rules),
            tuple(backwards[index] for index in found if index in backwards),
            frozenset(hints[index] for index in found if index in hints),
        )

    def spans(
        self, rule: Rule, text: str, judge: Judge, *, backwards: bool = False
    ) -> Iterator[tuple[int, int]]:
        """Spans of a rule's pattern that `judge` confirms, possibly shortened by it.

        After a refusal the search goes on behind the first word of the match, as a match may start there.
        """
        pattern = self._patterns[rule.id, backwards]
        groups = range(1, pattern.groups + 1) or (0,)
        data = text.encode()
        is_ascii = len(data) == len(text)
        position = known_byte = known_character = 0
        while (found := pattern.search(data, position)) is not None:
            start, end = next((span for group in groups if (span := found.span(group)) != _NO_SPAN), _NO_SPAN)
            if end <= start:
                position = max(found.end(), position + 1)
                continue
            first = start if is_ascii else known_character + _count(data, known_byte, start)
            last = end if is_ascii else first + _count(data, start, end)
            known_byte, known_character = start, first
            confirmed = judge(first, last)
            if confirmed is not None:
                yield confirmed
                position = start + (
                    confirmed[1] - first if is_ascii else len(text[first : confirmed[1]].encode())
                )
            elif end - start > _LONG_MATCH:
                position = end
            else:
                word = start + 1
                while word < end and _is_word(data[word]):
                    word += 1
                position = word

    def has_context(self, rule: Rule, keys: str, text: str, start: int, end: int) -> bool:
        """Whether the context that a rule asks for is in the keys above a match or near it."""
        if not rule.context:
            return True
        near = text[max(start - rule.window, 0) : start] + " " + text[end : end + rule.window]
        return self._contexts[rule.id].search(f"{keys} {near}") is not None


def _count(data: bytes, start: int, end: int) -> int:
    return len(data[start:end].decode(errors="surrogatepass"))


def _is_word(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122
