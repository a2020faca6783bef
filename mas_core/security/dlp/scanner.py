"""Scan a payload and say what is to be done about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from mas_core.errors import ConfigurationError
from mas_core.model.decision import Finding
from mas_core.security.dlp.document import MAX_DEPTH, DepthError, JsonValue, Path, flatten
from mas_core.security.dlp.inspection import HINTS, Inspection
from mas_core.security.dlp.layers import BudgetError
from mas_core.security.dlp.matcher import Matcher
from mas_core.security.dlp.redaction import Hit, pointer, redact
from mas_core.security.dlp.rules import ACTIONS, CATEGORIES, RulePack

Outcome = Literal["pass", "alert", "redact", "block", "unscannable"]

_STRENGTH: Final = {"alert": 1, "redact": 2, "block": 3}


class ScanResult(NamedTuple):
    """What a scan says about a value."""

    action: Outcome
    findings: tuple[Finding, ...]
    value: JsonValue
    """The redacted tree when the action is redact, else what was given."""
    reason: str
    """One sentence that holds nothing of the value."""


class Scanner:
    """Finds sensitive data in JSON values by the rules of a pack.

    Whatever goes wrong in a scan makes the value unscannable; nothing passes for want of an answer.

    Args:
        pack: The rules.
        actions: Rule id or category -> block, redact, alert or off, in place of what the pack says; a
            rule id wins over its category.

    Raises:
        ConfigurationError: An action is not known, or is for a rule or category that does not exist.
    """

    def __init__(self, pack: RulePack, actions: Mapping[str, str] | None = None) -> None:
        actions = actions or {}
        known = CATEGORIES | {rule.id for rule in pack.rules}
        for name, action in actions.items():
            if name not in known:
                raise ConfigurationError(
                    f"{name!r} is neither a rule nor a category of rule pack {pack.id}", hint="mas dlp rules"
                )
            if action not in ACTIONS:
                raise ConfigurationError(
                    f"{action!r} is not an action for {name}", hint=f"one of {', '.join(sorted(ACTIONS))}"
                )
        rules = [
            msgspec.structs.replace(
                rule, action=actions.get(rule.id, actions.get(rule.category, rule.action))
            )
            for rule in pack.rules
        ]
        self._matcher = Matcher([rule for rule in rules if rule.action != "off"], HINTS)

    def scan(self, value: JsonValue) -> ScanResult:
        """Look through a value; never raises."""
        try:
            text = flatten(value)
            if text is not None and self._matcher.is_clean(text):
                return ScanResult("pass", (), value, "")
            return self._judge(value)
        except DepthError:
            return _unscannable(value, f"the payload has more than {MAX_DEPTH} levels")
        except BudgetError as error:
            return _unscannable(value, f"the payload cannot be looked through: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it was, the value was not scanned
            return _unscannable(value, f"the scan failed with {type(error).__name__}")

    def _judge(self, value: JsonValue) -> ScanResult:
        hits = Inspection(self._matcher, value).hits()
        if not hits:
            return ScanResult("pass", (), value, "")
        findings = _findings(hits)
        action = max((hit.rule.action for hit in hits), key=_STRENGTH.__getitem__)
        reason = f"the payload holds {_kinds(hits)}"
        if action == "block":
            return ScanResult("block", findings, value, reason)
        if action == "alert":
            return ScanResult("alert", findings, value, reason)
        redacted = redact(value, [hit for hit in hits if hit.rule.action == "redact"])
        left = Inspection(self._matcher, redacted).hits()
        if any(hit.rule.action != "alert" for hit in left):
            return ScanResult("block", findings, value, f"{reason}; redacting it still leaves {_kinds(left)}")
        return ScanResult("redact", findings, redacted, reason)


def _unscannable(value: JsonValue, reason: str) -> ScanResult:
    return ScanResult("unscannable", (), value, reason)


def _kinds(hits: Sequence[Hit]) -> str:
    """The ids of the rules, those with the strongest action first."""
    ordered = sorted({(-_STRENGTH[hit.rule.action], hit.rule.id) for hit in hits})
    return ", ".join(rule_id for _, rule_id in ordered)


def _findings(hits: Sequence[Hit]) -> tuple[Finding, ...]:
    keys: defaultdict[Path, list[Hit]] = defaultdict(list)
    for hit in hits:
        if hit.place == "key":
            keys[hit.path].append(hit)
    return tuple(
        Finding(
            rule=hit.rule.id,
            category=hit.rule.category,
            path=pointer(hit.path, keys) + ("#key" if hit.place == "key" else ""),
            start=hit.start,
            end=hit.end,
            action=hit.rule.action,
            severity=hit.rule.severity,
        )
        for hit in hits
    )
