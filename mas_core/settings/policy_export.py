"""A policy document as policy.yaml would say it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.model.policy import (
    ANYONE,
    BreakerLimits,
    Features,
    Mark,
    PolicyDocument,
    RateLimit,
    Route,
    Rule,
)
from mas_core.model.routing import RoutingRule


def policy_as_file(document: PolicyDocument) -> dict[str, object]:
    """The fields of policy.yaml; loading them gives the same rules, roles, limits and switches."""
    limits = {"default": _limit(document.default_limit)} | {
        name: _limit(limit) for name, limit in document.limits.items()
    }
    parts: dict[str, object] = {
        "rules": [_rule(rule) for rule in document.rules],
        "roles": {name: list(members) for name, members in document.roles.items()},
        "limits": limits,
        "totals": {name: _limit(limit) for name, limit in document.totals.items()},
        "ceilings": {"default" if name == ANYONE else name: most for name, most in document.ceilings.items()},
        "dlp": dict(document.dlp_actions),
        "dlp_keys": dict(document.dlp_keys),
        "e2e_suites": [] if document.e2e_suites == PolicyDocument().e2e_suites else list(document.e2e_suites),
        "routes": [_route(route) for route in document.routes],
        "routing": {name: _routing(rule) for name, rule in document.routing.items()},
        "breaker": _breakers(document),
        "backups": dict(document.backups),
        "capabilities": {glob: list(parties) for glob, parties in document.capabilities.items()},
        "features": _features(document.features),
        "approval": (
            {}
            if document.approval_expires_ms == PolicyDocument().approval_expires_ms
            else {"expires": f"{document.approval_expires_ms / 1000!r}s"}
        ),
        "retention": {name: msgspec.structs.asdict(rule) for name, rule in document.retention.items()},
        "audit": _audit(document),
        "blocked": _marks(document.blocked),
        "trusted": _marks(document.trusted),
    }
    return {name: value for name, value in parts.items() if value}


def _rule(rule: Rule) -> dict[str, object]:
    said: dict[str, object] = {rule.effect: f"{rule.sender} -> {rule.target}"}
    if rule.type != ANYONE:
        said["types"] = [rule.type]
    if rule.action != ANYONE:
        said["action"] = rule.action
    if rule.expires:
        said["expires"] = rfc3339(rule.expires)
    if rule.reason:
        said["reason"] = rule.reason
    return said


def _route(route: Route) -> dict[str, object]:
    said: dict[str, object] = {"route": f"{route.sender} -> {route.target}"}
    if route.type != ANYONE:
        said["types"] = [route.type]
    if route.e2e:
        said["e2e"] = route.e2e
    if route.dlp:
        said["dlp"] = dict(route.dlp)
    return said


def _routing(rule: RoutingRule) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(rule)
    return {name: value for name, value in fields.items() if name != "source"}


def _limit(limit: RateLimit) -> dict[str, object]:
    """What differs from a limit that says nothing, but always the two that everybody looks for."""
    usual = msgspec.structs.asdict(RateLimit())
    return {
        name: value
        for name, value in msgspec.structs.asdict(limit).items()
        if name in ("per_minute", "per_hour") or value != usual.get(name)
    }


def _breakers(document: PolicyDocument) -> dict[str, object]:
    """Circuits that differ from what they are without a word."""
    usual = PolicyDocument().default_breaker
    own: dict[str, object] = (
        {} if document.default_breaker == usual else {"default": _breaker(document.default_breaker)}
    )
    return own | {name: _breaker(limits) for name, limits in document.breakers.items()}


def _breaker(limits: BreakerLimits) -> dict[str, object]:
    return {
        "failure_threshold": limits.failures,
        "failure_rate": limits.rate,
        "success_threshold": limits.successes,
        "timeout_s": limits.timeout_ms / 1000,
        "window_s": limits.window_ms / 1000,
        "minimum_calls": limits.calls,
        "trials": limits.trials,
        "jitter": limits.jitter,
    }


def _features(features: Features) -> dict[str, bool]:
    return dict(msgspec.structs.asdict(features))


def _audit(document: PolicyDocument) -> dict[str, object]:
    parts = {"fingerprints": dict(document.audit_fingerprints), "payloads": dict(document.audit_payloads)}
    return {name: value for name, value in parts.items() if value}


def _marks(marks: Mapping[str, Mark]) -> dict[str, dict[str, str]]:
    return {
        name: {
            **({"reason": mark.reason} if mark.reason else {}),
            **({"expires": rfc3339(mark.expires)} if mark.expires else {}),
        }
        for name, mark in marks.items()
    }
