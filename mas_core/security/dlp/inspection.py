"""The close look at one value: every leaf, every seam, every layer below."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from mas_core.security.dlp.document import KEY_END, NUMBER_SEAM, VALUE_END, Document, JsonValue, Leaf
from mas_core.security.dlp.layers import LAYERS, MAX_LAYERS, Budget, BudgetError
from mas_core.security.dlp.matcher import Matcher
from mas_core.security.dlp.normalise import normalise
from mas_core.security.dlp.redaction import Hit
from mas_core.security.dlp.rules import Rule
from mas_core.security.dlp.validators import VALIDATORS

HINTS: Final = {name: layer.hint for name, layer in LAYERS.items()}
"""What, beside a rule, makes a closer look necessary."""

_MOST_DIGITS: Final = 19
_MARGIN: Final = 160
"""Characters around a match that a validator may look at."""
_LINE_END: Final = re.compile(r"(?<![ \t])[ \t]*+[\r\n]+[ \t]*")


class Inspection:
    """Looks into one value and into what is encoded in it, within one budget."""

    def __init__(self, matcher: Matcher, value: JsonValue) -> None:
        self._matcher = matcher
        self._document = Document(value)
        self._budget = Budget(len(self._document.text))

    def hits(self) -> list[Hit]:
        """Everything found in the value.

        Raises:
            BudgetError: It cannot be looked through within the budget.
        """
        return self._look(self._document, 0, "")

    def _look(self, document: Document, layer: int, above: str) -> list[Hit]:
        """Everything found in a document that is `layer` encodings deep, under keys that are context."""
        matches = self._matcher.match(f"{above}{KEY_END}{document.text}")
        found = [hit for rule in matches.rules for hit in self._in_leaves(rule, document, above)]
        found += [hit for rule in matches.backwards for hit in self._backwards(rule, document)]
        found += self._over_lines(document)
        found += self._in_seams(document, "")
        found += self._in_seams(document, NUMBER_SEAM)
        found += self._in_layers(document, matches.hints, layer, above)
        return list(dict.fromkeys(found))

    def _in_leaves(self, rule: Rule, document: Document, above: str) -> Iterator[Hit]:
        for start, end in self._confirmed(rule, document.text):
            leaf, first, last = document.locate(start, end)
            if self._matcher.has_context(rule, _keys_of(leaf, above), leaf.folded, first, last):
                yield Hit(rule, leaf.path, leaf.place, *leaf.original_span(first, last))

    def _backwards(self, rule: Rule, document: Document) -> Iterator[Hit]:
        validator = VALIDATORS.get(rule.validator)

        def judge(start: int, end: int) -> tuple[int, int] | None:
            self._budget.spend_candidate()
            leaf, first, last = document.locate(start, end)
            if leaf.place == "number":
                return None
            around = leaf.folded[max(first - _MARGIN, 0) : last + _MARGIN]
            turned = around[::-1]
            before = min(first, _MARGIN)
            span = (len(around) - before - (last - first), len(around) - before)
            confirmed = validator(turned, *span) if validator else span
            return confirmed and (start, end)

        for start, end in self._matcher.spans(rule, document.text, judge, backwards=True):
            leaf, first, last = document.locate(start, end)
            yield Hit(rule, leaf.path, leaf.place, *leaf.original_span(first, last))

    def _over_lines(self, document: Document) -> Iterator[Hit]:
        """What was broken over several lines; numbers with a checksum may hold line ends by themselves."""
        for leaf in document.leaves:
            if "\n" not in leaf.folded:
                continue
            places: list[int] = []
            position = 0
            for found in _LINE_END.finditer(leaf.folded):
                places += range(position, found.start())
                position = found.end()
            places += range(position, len(leaf.folded))
            text = "".join(leaf.folded[place] for place in places)
            for rule in self._matcher.match(text).rules:
                if rule.cut == "never" or rule.validator:
                    continue
                for start, end in self._confirmed(rule, text):
                    first, last = places[start], places[end - 1] + 1
                    if last - first > end - start:
                        yield Hit(rule, leaf.path, leaf.place, *leaf.original_span(first, last))

    def _in_seams(self, document: Document, seam: str) -> Iterator[Hit]:
        runs = [run for run in document.runs if _is_joined(run, seam)]
        texts = [seam.join(leaf.folded for leaf in run) for run in runs]
        if not runs:
            return
        rules = [rule for rule in self._matcher.match(VALUE_END.join(texts)).rules if rule.cut != "never"]
        for rule in rules:
            for run, text in zip(runs, texts, strict=True):
                if _can_be_cut(rule, run, seam):
                    yield from self._in_run(rule, run, text, seam)

    def _in_run(self, rule: Rule, run: list[Leaf], text: str, seam: str) -> Iterator[Hit]:
        starts = list(accumulate((len(leaf.folded) + len(seam) for leaf in run), initial=0))
        ends = [start + len(leaf.folded) for start, leaf in zip(starts, run, strict=False)]
        for start, end in self._confirmed(rule, text):
            first, last = bisect_right(starts, start) - 1, bisect_left(ends, end)
            is_whole = start == starts[first] and end == ends[last] and _stands_alone(run, first, last)
            if last > first and (is_whole or not rule.validator):
                for leaf in run[first : last + 1]:
                    yield Hit(rule, leaf.path, leaf.place, 0, len(leaf.text))

    def _in_layers(self, document: Document, hints: frozenset[str], layer: int, above: str) -> Iterator[Hit]:
        layers = [LAYERS[name] for name in sorted(hints & LAYERS.keys(), reverse=True)]
        for leaf in document.leaves if layers else ():
            if leaf.place == "number":
                continue
            for decoder in layers:
                for decoded in decoder.decode(leaf.folded, self._budget):
                    if layer == MAX_LAYERS:
                        raise BudgetError(f"more than {MAX_LAYERS} encodings in each other")
                    for hit in self._look(Document(decoded.value), layer + 1, _keys_of(leaf, above)):
                        start, end = decoded.start, decoded.end
                        if decoded.origins is not None:
                            start, end = decoded.origins[hit.start], decoded.origins[hit.end]
                        yield Hit(hit.rule, leaf.path, leaf.place, *leaf.original_span(start, end))

    def _confirmed(self, rule: Rule, text: str) -> Iterator[tuple[int, int]]:
        validator = VALIDATORS.get(rule.validator)

        def judge(start: int, end: int) -> tuple[int, int] | None:
            self._budget.spend_candidate()
            return validator(text, start, end) if validator else (start, end)

        return self._matcher.spans(rule, text, judge)


def _keys_of(leaf: Leaf, above: str) -> str:
    """The keys above a leaf as text to look for context in."""
    path = leaf.path[:-1] if leaf.place == "key" else leaf.path
    return " ".join((above, *(normalise(part) for part in path if isinstance(part, str))))


def _is_joined(run: list[Leaf], seam: str) -> bool:
    """Whether a run is put together with this seam at all: rows of many numbers are tables and vectors."""
    if run[0].place == "key":
        return bool(seam) or run[1].place == "text"
    return run[0].place == "text" or (bool(seam) and len(run) <= _MOST_DIGITS)


def _can_be_cut(rule: Rule, run: list[Leaf], seam: str) -> bool:
    """Whether a rule is looked for in a run that is put together with this seam.

    Digits of unrelated fields make a number of any kind by chance. So outside of lists of strings the parts
    must have the lengths in which such numbers are written, which is what the seam between numbers shows.
    """
    if run[0].place == "number":
        return rule.cut == "scalars"
    if seam:
        return bool(rule.validator)
    return not rule.validator or (run[0].place == "text" and isinstance(run[0].path[-1], int))


def _stands_alone(run: list[Leaf], first: int, last: int) -> bool:
    """Whether the parts are no piece of a longer row of numbers."""
    neighbours = run[max(first - 1, 0) : first] + run[last + 1 : last + 2]
    if run[0].place == "number":
        return not neighbours
    return not any(leaf.folded.isdigit() for leaf in neighbours)
