"""Policies on trial: cases with expected decisions, and a second policy that runs in the shadow of the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mas_core.base.ids import check_message_type
from mas_core.base.resources import action_of
from mas_core.errors import InvalidIdentifier
from mas_core.model.decision import Decision
from mas_core.model.policy import PolicyDocument
from mas_core.model.standing import ISOLATING
from mas_core.ops import audit
from mas_core.ops.policy_files import document_of
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.access import AccessPolicy
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.routes import Routes
from mas_core.settings.permissions import checked_agent_id, checked_target
from mas_core.settings.yaml_documents import read_yaml, validated

_SCANNED = {
    "pass": Decision.ALLOWED,
    "alert": Decision.ALERT,
    "redact": Decision.REDACTED,
    "block": Decision.BLOCKED,
    "unscannable": Decision.UNSCANNABLE,
}


def _message_type(value: str) -> str:
    try:
        return check_message_type(value)
    except InvalidIdentifier as error:
        raise ValueError("\n".join((error.message, *error.hint))) from error


class Case(BaseModel):
    """One message and what should become of it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    sender: Annotated[str, AfterValidator(checked_agent_id)] = Field(alias="from")
    """Id of the sending agent; it need not be registered."""
    target: Annotated[str, AfterValidator(checked_target)] = Field(alias="to")
    """Id of the agent that would get it, or a resource such as topic:orders.created."""
    type: Annotated[str, AfterValidator(_message_type)] = "message"
    """Type of the message."""
    action: Literal["send", "request"] = "send"
    """send or request; what is done to a resource follows from the type."""
    payload: dict[str, Any] | None = None
    """What is scanned; without it the scan is not asked."""
    expect: Literal[tuple(Decision)]  # type: ignore[valid-type]
    """The decision: allowed, held, denied, blocked, redacted, alert, ..."""
    rule: str | None = None
    """Id of the deciding rule, where it matters."""


class CasesFile(BaseModel):
    """The fields of a file of cases."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cases: list[Case] = Field(min_length=1)
    """Messages and what should become of them."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case."""

    case: Case
    decision: Decision
    rule: str
    reason: str

    @property
    def is_as_expected(self) -> bool:
        """Whether the decision, and the rule if one is named, are those of the case."""
        return self.decision == self.case.expect and self.case.rule in (None, self.rule)


@dataclass(frozen=True, slots=True)
class Difference:
    """Messages that the shadow policy would have treated in another way."""

    sender: str
    target: str
    message_type: str
    present: str
    shadow: str
    rule: str
    """The deciding rule of the shadow policy."""
    count: int


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What the shadow policy would have changed so far."""

    since: int
    """Unix milliseconds: when it was set."""
    messages: int
    """Messages that were recorded since."""
    differences: tuple[Difference, ...]
    """The most frequent first."""


def load_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a file.

    Raises:
        SpecInvalid: The file cannot be used; names line and fix.
    """
    return tuple(validated(CasesFile, read_yaml(path)).cases)


def try_cases(
    document: PolicyDocument, cases: Sequence[Case], now_ms: int, pack: Path | None = None
) -> list[CaseResult]:
    """What a policy says about each case.

    Asked are standings, blocks, access rules and, for cases with a payload, the scan. Limits and inboxes
    depend on what else happens and are not.

    Args:
        document: The policy.
        cases: What is asked.
        now_ms: When the messages would be sent, Unix milliseconds.
        pack: The rule pack; the one that comes with the library when left out.

    Raises:
        ConfigurationError: The policy makes no sense.
    """
    access = AccessPolicy(document)
    routes = Routes(document)
    scanner = None
    if document.features.dlp:
        layers = [route.dlp for route in document.routes]
        scanner = Scanner(load_pack(pack), document.dlp_actions, keys=document.dlp_keys, routes=layers)
    return [_tried(document, access, routes, scanner, case, now_ms) for case in cases]


@named("shadow.set")
async def set_shadow(system: System, path: Path) -> PolicyDocument:
    """Try what a file says beside the policy in force; gateways do so when this returns.

    Raises:
        SpecInvalid: The file cannot be used; names line and fix.
    """
    now = await system.store.connection.time_ms()
    shadow = msgspec.structs.replace(
        document_of(path), changed_by=system.actor, changed_at=now, change=path.name
    )

    def edit(document: PolicyDocument) -> PolicyDocument:
        return msgspec.structs.replace(document, shadow=shadow, change=f"shadow policy: {path.name}")

    return await system.policy.change(edit)


@named("shadow.clear")
async def clear_shadow(system: System) -> bool:
    """No longer try a policy beside the one in force; whether there was one."""
    had = False

    def edit(document: PolicyDocument) -> PolicyDocument:
        nonlocal had
        had = document.shadow is not None
        return msgspec.structs.replace(document, shadow=None, change="no shadow policy") if had else document

    await system.policy.change(edit)
    return had


async def shadow_report(system: System, *, since: int = 0) -> ShadowReport | None:
    """What the shadow policy would have changed; None when there is none.

    Args:
        system: The system.
        since: Unix milliseconds; when it was set, when left out.
    """
    shadow = (await system.policy.load() or PolicyDocument()).shadow
    if shadow is None:
        return None
    begin = max(since, shadow.changed_at)
    counts: Counter[tuple[str, str, str, str, str, str]] = Counter()
    messages = 0
    wanted = audit.AuditFilter(kind="message", since=begin)
    async for found in audit.records(system, wanted):
        messages += 1
        note = found.record.details.get("shadow")
        if isinstance(note, dict):
            told = (str(note.get(name, "")) for name in ("instead_of", "decision", "rule"))
            counts[found.record.sender, found.record.target, found.record.type, *told] += 1  # type: ignore[index]
    return ShadowReport(
        begin, messages, tuple(Difference(*names, count) for names, count in counts.most_common())
    )


def _tried(
    document: PolicyDocument,
    access: AccessPolicy,
    routes: Routes,
    scanner: Scanner | None,
    case: Case,
    now_ms: int,
) -> CaseResult:
    for name in (case.sender, case.target):
        kind = document.standing_of(name)
        if kind in ISOLATING:
            return CaseResult(case, Decision.QUARANTINED, kind, f"{name} is {kind}")
    action = action_of(case.target, case.type, expects_reply=case.action == "request")
    found = access.decide(case.sender, case.target, case.type, action, now_ms)
    if not (found.allowed or found.held):
        return CaseResult(case, Decision.DENIED, found.rule_id, f"Authorization denied: {found.reason}")
    if scanner is not None and case.payload is not None:
        result = scanner.scan(case.payload, routes.find(case.sender, case.target, case.type).dlp)
        decision = _SCANNED[result.action]
        if decision is not Decision.ALLOWED and (found.allowed or not decision.is_delivered):
            rules = ", ".join(sorted({finding.rule for finding in result.findings}))
            return CaseResult(case, decision, found.rule_id, result.reason or f"the payload holds {rules}")
    if found.held:
        return CaseResult(case, Decision.HELD, found.rule_id, found.reason)
    return CaseResult(case, Decision.ALLOWED, found.rule_id, found.reason)
