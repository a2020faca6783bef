"""Scan a payload and say what is to be done about it.

A gateway scans in two steps. `Scanner.suspects(texts)` takes the JSON texts of a batch, as `encode_json`
writes them, and gives the indexes of those that may hold something; `scan` of any other would give "pass",
so it need not be called. `Scanner.scan(value, route)` looks closely at one parsed payload. What is looked for
is the same for all routes and compiled once; what is done about it may differ from route to route.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from mas_core.model.decision import Finding
from mas_core.security.dlp.actions import EVERY, Actions, check_actions
from mas_core.security.dlp.allow_list import AllowList
from mas_core.security.dlp.detectors import Detector
from mas_core.security.dlp.document import MAX_DEPTH, DepthError, Document, JsonValue, Path, number_text
from mas_core.security.dlp.first_look import FirstLook
from mas_core.security.dlp.inspection import HINTS, Inspection
from mas_core.security.dlp.layers import BudgetError
from mas_core.security.dlp.matcher import Matcher
from mas_core.security.dlp.packs import RulePack
from mas_core.security.dlp.patterns import UntranslatableError
from mas_core.security.dlp.redaction import Hit, masked, pointer, redact
from mas_core.security.dlp.rules import ENCRYPT, Rule
from mas_core.security.dlp.sealed_values import ValueSealer

Outcome = Literal["pass", "alert", "redact", "block", "unscannable"]

NO_ROUTE: Final[tuple[Mapping[str, str], ...]] = ()

_MASK: Final = re.compile(r"\[(?:REDACTED|SEALED):[^\]]*\]")
_STRENGTH: Final = {"off": 0, "alert": 1, "encrypt": 2, "redact": 3, "block": 4}


class ScanResult(NamedTuple):
    """What a scan says about a value."""

    action: Outcome
    findings: tuple[Finding, ...]
    value: JsonValue
    """The tree without what was found when the action is redact, else what was given."""
    reason: str
    """One sentence that holds nothing of the value."""


class Scanner:
    """Finds sensitive data in JSON values by the rules of a pack.

    Whatever goes wrong in a scan makes the value unscannable; nothing passes for want of an answer.

    Args:
        pack: The rules.
        actions: Rule id, category or `*` -> block, redact, alert, off or encrypt:NAME, in place of what the
            pack says; a rule id wins over its category.
        keys: Name of a key -> its public half, for what is encrypted.
        routes: What the routes of the policy say, all of it: what is on for one of them is looked for.
        detectors: What looks at each text beside the rules. Their kinds are rules of category pii with the
            action alert, such as presidio_person.

    Raises:
        ConfigurationError: An action is not known, is for a rule or category that does not exist, or names
            a key that is not there.
    """

    def __init__(
        self,
        pack: RulePack,
        actions: Mapping[str, str] | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        routes: Iterable[Mapping[str, str]] = (),
        detectors: Sequence[Detector] = (),
    ) -> None:
        layers = tuple(routes)
        self._detectors = [(detector, _rules_of(detector)) for detector in detectors]
        told = tuple(rule for _, rules in self._detectors for rule in rules.values())
        self._sealer = ValueSealer(keys or {})
        for layer in (actions or {}, *layers):
            check_actions(layer, (*pack.rules, *told), self._sealer.names)
        check_actions({rule.id: rule.action for rule in pack.rules}, pack.rules, self._sealer.names)
        self._actions = Actions(actions or {})
        active = tuple(
            rule
            for rule in pack.rules
            if self._actions.of(rule, ()) != "off"
            or any(
                layer.get(name, "off") != "off"
                for layer in layers
                for name in (rule.id, rule.category, EVERY)
            )
        )
        self._first_look, self._matcher = _compiled(active)
        self._allow = AllowList(pack.allow) if pack.allow else None

    def suspects(self, texts: Sequence[bytes]) -> Sequence[int]:
        """Indexes of the payloads that `scan` must look at; never raises.

        Args:
            texts: JSON texts as `encode_json` writes them, of values with at most 64 levels.
        """
        if self._first_look is None or self._detectors:
            return range(len(texts))
        try:
            return self._first_look.suspects(texts)
        except Exception:  # noqa: BLE001 - whatever it was, nothing was told about any of them
            return range(len(texts))

    def scan(self, value: JsonValue, route: tuple[Mapping[str, str], ...] = NO_ROUTE) -> ScanResult:
        """Look through a value; never raises.

        Args:
            value: A JSON value.
            route: What the message's route says, as in `RouteSettings.dlp`.
        """
        try:
            return self._judge(value, route)
        except DepthError:
            return _unscannable(value, f"the payload has more than {MAX_DEPTH} levels")
        except BudgetError as error:
            return _unscannable(value, f"the payload cannot be looked through: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it was, the value was not scanned
            return _unscannable(value, f"the scan failed with {type(error).__name__}")

    def _judge(self, value: JsonValue, route: tuple[Mapping[str, str], ...]) -> ScanResult:
        found = {hit: self._actions.of(hit.rule, route) for hit in self._hits(value)}
        found = {hit: action for hit, action in found.items() if action != "off"}
        if not found:
            return ScanResult("pass", (), value, "")
        findings = _findings(found)
        strongest = max(map(_strength, found.values()))
        reason = f"the payload holds {_kinds(found)}"
        if strongest == _STRENGTH["block"]:
            return ScanResult("block", findings, value, reason)
        if strongest == _STRENGTH["alert"]:
            return ScanResult("alert", findings, value, reason)
        taken_out = [hit for hit, action in found.items() if action != "alert"]
        redacted = redact(value, taken_out)
        left = {
            hit: action
            for hit in self._hits(redacted)
            if (action := self._actions.of(hit.rule, route)) not in ("alert", "off")
        }
        if left:
            return ScanResult("block", findings, value, f"{reason}; redacting it still leaves {_kinds(left)}")
        if any(action.startswith(ENCRYPT) for action in found.values()):
            redacted = redact(value, taken_out, lambda hit, text: self._sealed(hit, found[hit], text))
        return ScanResult("redact", findings, redacted, reason)

    def _hits(self, value: JsonValue) -> list[Hit]:
        hits = Inspection(self._matcher, value).hits()
        if self._detectors:
            hits = list(dict.fromkeys([*hits, *self._told(value)]))
        if self._allow is None:
            return hits
        allow = self._allow
        return [hit for hit in hits if not allow.holds(hit.rule, lambda hit=hit: _text_of(value, hit))]  # type: ignore[misc]

    def _told(self, value: JsonValue) -> Iterator[Hit]:
        """What the detectors find in strings and keys; what is masked already is left alone."""
        leaves = [leaf for leaf in Document(value).leaves if leaf.place != "number" and leaf.text]
        for detector, rules in self._detectors:
            found = detector.detect(
                [_MASK.sub(lambda mask: " " * len(mask[0]), leaf.text) for leaf in leaves]
            )
            for leaf, detections in zip(leaves, found, strict=True):
                for kind, start, end in detections:
                    if not 0 <= start < end <= len(leaf.text):
                        raise ValueError("a detector named a place that is not there")
                    yield Hit(rules[kind], leaf.path, leaf.place, start, end)

    def _sealed(self, hit: Hit, action: str, text: str) -> str:
        if not action.startswith(ENCRYPT):
            return masked(hit, text)
        return self._sealer.seal(action.removeprefix(ENCRYPT), hit.rule.id, text)


def _rules_of(detector: Detector) -> dict[str, Rule]:
    """What stands for the kinds that a detector finds."""
    return {
        kind: Rule(id=f"{detector.name}_{kind}", category="pii", pattern="", action="alert")
        for kind in detector.kinds
    }


@lru_cache(maxsize=8)
def _compiled(rules: tuple[Rule, ...]) -> tuple[FirstLook | None, Matcher]:
    """The automata of these rules; a change of policy seldom changes what is looked for."""
    matcher = Matcher(rules, HINTS)
    try:
        return FirstLook(rules), matcher
    except UntranslatableError:
        return None, matcher


def _text_of(value: JsonValue, hit: Hit) -> str:
    """The text of a hit as it stands in the value."""
    if hit.place == "key":
        return str(hit.path[-1])[hit.start : hit.end]
    for part in hit.path:
        value = value[part]  # type: ignore[index]
    text = number_text(value) if isinstance(value, int | float) else str(value)
    return text[hit.start : hit.end]


def _unscannable(value: JsonValue, reason: str) -> ScanResult:
    return ScanResult("unscannable", (), value, reason)


def _strength(action: str) -> int:
    return _STRENGTH[action.partition(":")[0]]


def _kinds(found: Mapping[Hit, str]) -> str:
    """The ids of the rules, those with the strongest action first."""
    ordered = sorted({(-_strength(action), hit.rule.id) for hit, action in found.items()})
    return ", ".join(rule_id for _, rule_id in ordered)


def _findings(found: Mapping[Hit, str]) -> tuple[Finding, ...]:
    keys: defaultdict[Path, list[Hit]] = defaultdict(list)
    for hit in found:
        if hit.place == "key":
            keys[hit.path].append(hit)
    return tuple(
        Finding(
            rule=hit.rule.id,
            category=hit.rule.category,
            path=pointer(hit.path, keys) + ("#key" if hit.place == "key" else ""),
            start=hit.start,
            end=hit.end,
            action=action,
            severity=hit.rule.severity,
        )
        for hit, action in found.items()
    )
