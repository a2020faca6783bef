"""Policies as files: put one in force, write the one in force, compare, and go back to an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from mas_core.model.policy import Mark, PolicyDocument, Route, Rule
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.access import AccessPolicy
from mas_core.security.limit_changes import file_limits
from mas_core.security.policy_changes import FILE_SOURCE, replace_file_rules, set_roles
from mas_core.security.policy_versions import Change, differences, rolled_back, same_meaning
from mas_core.security.routing import check_routing
from mas_core.settings.policy_export import policy_as_file
from mas_core.settings.policy_file import FilePolicy, load_policy_file

__all__ = [
    "Change",
    "apply",
    "compare",
    "compare_revisions",
    "document_of",
    "history",
    "policy_as_file",
    "rollback",
]

Value = TypeVar("Value")

SOURCE = "apply"
"""Source of rules that `apply` made; loading the project's files leaves them."""


@named("policy.apply")
async def apply(
    system: System, path: Path, *, prune: bool = False, dry_run: bool = False
) -> tuple[PolicyDocument, list[Change]]:
    """Put what a file says in force; it is when this returns.

    Args:
        system: The system.
        path: A file like policy.yaml.
        prune: Take away what it does not say: rules, roles, limits, marks and the like. Rules, roles and
            limits that the project's own files brought stay, because the next start would bring them back.
        dry_run: Change nothing and tell what would be.

    Returns:
        The policy and what changed.

    Raises:
        SpecInvalid: The file cannot be used; names line and fix.
        UsageError: A rule of it makes no sense, or a role that would go is still named.
        ConfigurationError: It says of the scan what gateways cannot do.
    """
    said = load_policy_file(path, SOURCE)
    before = await system.policy.load() or PolicyDocument()
    if dry_run:
        after = applied(before, said, prune=prune)
        system.policy.check(before, after)
    else:
        after = await system.policy.change(
            lambda document: _named(document, applied(document, said, prune=prune), path)
        )
    return after, differences(before, after)


async def compare(system: System, path: Path) -> list[Change]:
    """What `apply` with `prune` would change.

    Raises:
        SpecInvalid: The file cannot be used.
    """
    _after, changes = await apply(system, path, prune=True, dry_run=True)
    return changes


async def compare_revisions(system: System, earlier: int, later: int | None = None) -> list[Change]:
    """What differs between two revisions, or an earlier one and the policy in force.

    Raises:
        RevisionNotFound: One of them is not kept.
    """
    current = await system.policy.load() or PolicyDocument()
    after = current if later is None else await system.policy.at(later)
    return differences(await system.policy.at(earlier), after)


async def history(system: System, newest: int = 100) -> list[PolicyDocument]:
    """The newest revisions of the policy, the one in force first; 0 for all that are kept."""
    return await system.policy.history(newest)


@named("policy.rollback")
async def rollback(
    system: System, revision: int, *, dry_run: bool = False
) -> tuple[PolicyDocument, list[Change]]:
    """Make the policy what it was at a revision, as a new revision; in force when this returns.

    What an operator said about single agents (standings, blocks) and the shadow policy stay.

    Raises:
        RevisionNotFound: It is not kept.
        ConfigurationError: It says of the scan what gateways cannot do.
    """
    earlier = await system.policy.at(revision)
    before = await system.policy.load() or PolicyDocument()
    if dry_run:
        after = rolled_back(before, earlier)
        system.policy.check(before, after)
    else:
        after = await system.policy.change(lambda document: rolled_back(document, earlier))
    return after, differences(before, after)


def document_of(path: Path) -> PolicyDocument:
    """The policy that a file alone makes.

    Raises:
        SpecInvalid: The file cannot be used.
        UsageError, ConfigurationError: What it says makes no sense.
    """
    document = applied(PolicyDocument(), load_policy_file(path, SOURCE), prune=True)
    AccessPolicy(document)
    return document


def applied(document: PolicyDocument, said: FilePolicy, *, prune: bool) -> PolicyDocument:
    """The document with what a file says, and nothing else if `prune`."""
    keep = not prune
    everybody, file_said, file_totals = file_limits(document)
    roles = {**(document.roles if keep else _still(document.roles, document.roles_of_files)), **said.roles}
    after = _with_rules(set_roles(document, {**document.roles, **roles}), said, prune=prune)
    marks = {
        kind: {**(getattr(document, kind) if keep else {}), **_unchanged(getattr(document, kind), found)}
        for kind, found in (("blocked", said.blocked), ("trusted", said.trusted))
    }
    routes = tuple(route for route in document.routes if keep or route.source.startswith(FILE_SOURCE))
    after = msgspec.structs.replace(
        after,
        default_limit=said.default_limit
        or (document.default_limit if keep else everybody or PolicyDocument().default_limit),
        limits={**(document.limits if keep else _still(document.limits, file_said)), **said.limits},
        totals={**(document.totals if keep else _still(document.totals, file_totals)), **said.totals},
        ceilings={
            **(document.ceilings if keep else _still(document.ceilings, document.ceilings_of_files)),
            **said.ceilings,
        },
        default_breaker=said.default_breaker
        or (document.default_breaker if keep else PolicyDocument().default_breaker),
        breakers={**(document.breakers if keep else {}), **said.breakers},
        backups={**(document.backups if keep else {}), **said.backups},
        dlp_actions={**(document.dlp_actions if keep else {}), **said.dlp_actions},
        audit_fingerprints={**(document.audit_fingerprints if keep else {}), **said.audit_fingerprints},
        audit_payloads={**(document.audit_payloads if keep else {}), **said.audit_payloads},
        dlp_keys={**(document.dlp_keys if keep else {}), **said.dlp_keys},
        e2e_suites=said.e2e_suites or (document.e2e_suites if keep else PolicyDocument().e2e_suites),
        approval_expires_ms=said.approval_expires_ms
        or (document.approval_expires_ms if keep else PolicyDocument().approval_expires_ms),
        retention={**(document.retention if keep else {}), **said.retention},
        routing={
            **{
                name: rule
                for name, rule in document.routing.items()
                if keep or rule.source.startswith(FILE_SOURCE)
            },
            **said.routing,
        },
        routes=(*routes, *(route for route in said.routes if not _is_there(route, routes))),
        capabilities={**(document.capabilities if keep else {}), **said.capabilities},
        features=msgspec.structs.replace(document.features, **said.features),
        feature_overrides={
            **document.feature_overrides,
            **{name: on for name, on in said.features.items() if getattr(document.features, name) is not on},
        },
        **marks,
    )
    after = set_roles(after, roles)
    for name, rule in said.routing.items():
        check_routing(after, name, rule)
    return after


def _with_rules(document: PolicyDocument, said: FilePolicy, *, prune: bool) -> PolicyDocument:
    """Rules that are there already stay as they are, wherever they came from."""
    wanted = {same_meaning(rule): rule for rule in said.rules}
    present = {same_meaning(rule) for rule in document.rules}
    kept = tuple(
        rule
        for rule in document.rules
        if not prune or rule.source.startswith(FILE_SOURCE) or same_meaning(rule) in wanted
    )
    new: list[Rule] = [
        msgspec.structs.replace(rule, source=f"{SOURCE}:new")
        for meaning, rule in wanted.items()
        if meaning not in present
    ]
    # The numbering of new rules is that of rules from files; afterwards they are like any other.
    numbered = replace_file_rules(msgspec.structs.replace(document, rules=kept), new, f"{SOURCE}:new")
    return msgspec.structs.replace(
        numbered,
        rules=tuple(
            msgspec.structs.replace(rule, source=SOURCE) if rule.source == f"{SOURCE}:new" else rule
            for rule in numbered.rules
        ),
        change=document.change,
    )


def _still(current: Mapping[str, Value], of_files: Mapping[str, Value]) -> dict[str, Value]:
    """What the project's own files said of things that are still there."""
    return {name: value for name, value in of_files.items() if name in current}


def _is_there(route: Route, routes: tuple[Route, ...]) -> bool:
    def said(one: Route) -> dict[str, object]:
        return {name: value for name, value in msgspec.structs.asdict(one).items() if name != "source"}

    return any(said(route) == said(other) for other in routes)


def _unchanged(before: Mapping[str, Mark], found: Mapping[str, Mark]) -> dict[str, Mark]:
    """Marks of a file; one that says the same as before stays the one that it was."""

    def said(mark: Mark) -> tuple[str, int]:
        return mark.reason, mark.expires

    return {
        name: before[name] if name in before and said(before[name]) == said(mark) else mark
        for name, mark in found.items()
    }


def _named(before: PolicyDocument, after: PolicyDocument, path: Path) -> PolicyDocument:
    if msgspec.structs.replace(after, last_rule=before.last_rule, change=before.change) == before:
        return before
    return msgspec.structs.replace(after, change=f"apply {path.name}")
