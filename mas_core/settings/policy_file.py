"""policy.yaml: the part of the policy that comes from a file.

rules:
  - allow: operator -> [calculator, notebook]
roles:
  auditors: [alice, bob]
limits:
  default: {per_minute: 100, per_hour: 1000}
  role:auditors: {per_minute: 600, per_hour: 20000, burst: 50}
totals:
  capability:gpu: {per_minute: 60, per_hour: 2000}
ceilings:
  default: 8
  role:auditors: 5
breaker:
  default: {failure_threshold: 5, failure_rate: 0.5, timeout_s: 60}
backups:
  ledger: ledger-2
approval: {expires: 1h}
retention:
  hipaa: {hot_days: 90, archive_years: 6}
audit:
  fingerprints: {invoice.*: fields}
  payloads: {invoice.*: /customer/id}
dlp:
  card: block
  email: alert
dlp_keys:
  finance: CY6Tl0Kdmf7L1Mcr-6uYtFfs3sHYTMRVGwGTZVkU4Ew
routes:
  - route: billing -> ledger
    types: [invoice.*]
    e2e: forbid
    dlp: {card: encrypt:finance}
routing:
  language: {type: "nlp_*", to: ["capability:nlp"], strategy: best_match}
  ledgers: {capability: ledger, to: [ledger-1, ledger-2], strategy: sticky, key: /account}
capabilities:
  diagnosis.*: [role:doctors]
features:
  dlp: true
blocked:
  mallory: {reason: leaked its token, expires: 2027-01-01T00:00:00Z}
trusted:
  dispatcher: {reason: runs the emergency line}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from mas_core.base.ids import AGENT_ID, CAPABILITY
from mas_core.model.policy import ANYONE, BreakerLimits, Features, Mark, RateLimit, Route, Rule
from mas_core.model.retention import MOST_DAYS, MOST_YEARS, RetentionRule, usual_rule
from mas_core.model.routing import RoutingRule, Strategy
from mas_core.settings.durations import EXAMPLES, seconds_of
from mas_core.settings.gateway_settings import CircuitBreakerSettings
from mas_core.settings.permissions import (
    DlpAction,
    Limit,
    Party,
    Permission,
    RouteEntry,
    checked_agent_id,
    checked_type_glob,
    without_repeats,
)
from mas_core.settings.yaml_documents import read_yaml, validated

DEFAULT_LIMIT = "default"
_TOTAL = re.compile(rf"role:{AGENT_ID.pattern}|capability:{CAPABILITY.pattern}")


def _total_name(value: str) -> str:
    if not _TOTAL.fullmatch(value):
        raise ValueError(f"{value!r} has no total\nwrite role:NAME or capability:NAME")
    return value


def _feature(value: str) -> str:
    if value not in Features.__struct_fields__:
        raise ValueError(f"there is no switch {value!r}\nuse one of {', '.join(Features.__struct_fields__)}")
    return value


Name = Annotated[str, AfterValidator(checked_agent_id)]
TotalName = Annotated[str, AfterValidator(_total_name)]
Priority = Annotated[int, Field(ge=0, le=10)]


def _duration(value: object) -> object:
    seconds = seconds_of(str(value)) if isinstance(value, str | int | float) else None
    if seconds is None:
        raise ValueError(f"{value!r} is not a duration\n{EXAMPLES}")
    return seconds


class ApprovalEntry(BaseModel):
    """How held messages wait."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    expires: Annotated[float, BeforeValidator(_duration), Field(ge=1, le=30 * 86_400)] = 3600.0
    """How long a message waits for somebody to approve it, such as 1h."""


def _pointer(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f"{value!r} is no JSON Pointer\nwrite /customer/id, or nothing for the sender")
    return value


TypeGlob = Annotated[str, AfterValidator(checked_type_glob)]


class AuditEntry(BaseModel):
    """What the audit keeps of payloads."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    fingerprints: dict[TypeGlob, Literal["payload", "fields"]] = {}
    """Pattern of message types -> a keyed fingerprint of each leaf (`fields`), or of the payload as a whole."""
    payloads: dict[TypeGlob, Annotated[str, AfterValidator(_pointer)]] = {}
    """Pattern of message types whose payload is kept, sealed -> JSON Pointer of the person or thing that it is
    about, whose key seals it; empty for the sender."""


@dataclass(frozen=True)
class FilePolicy:
    """What files say about the policy; `mas up` puts it in the place of what they said before."""

    rules: tuple[Rule, ...] = ()
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    default_limit: RateLimit | None = None
    limits: dict[str, RateLimit] = field(default_factory=dict)
    dlp_actions: dict[str, str] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    default_breaker: BreakerLimits | None = None
    breakers: dict[str, BreakerLimits] = field(default_factory=dict)
    backups: dict[str, str] = field(default_factory=dict)
    dlp_keys: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: dict[str, bool] = field(default_factory=dict)
    blocked: dict[str, Mark] = field(default_factory=dict)
    trusted: dict[str, Mark] = field(default_factory=dict)
    approval_expires_ms: int | None = None
    e2e_suites: tuple[str, ...] | None = None
    totals: dict[str, RateLimit] = field(default_factory=dict)
    ceilings: dict[str, int] = field(default_factory=dict)
    retention: dict[str, RetentionRule] = field(default_factory=dict)
    audit_fingerprints: dict[str, str] = field(default_factory=dict)
    audit_payloads: dict[str, str] = field(default_factory=dict)
    routing: dict[str, RoutingRule] = field(default_factory=dict)

    def joined(self, others: Iterable[FilePolicy]) -> FilePolicy:
        """This and the others as one; where they disagree about one thing the later wins."""
        rules = list(self.rules)
        roles = {name: list(members) for name, members in self.roles.items()}
        limits, actions, default = dict(self.limits), dict(self.dlp_actions), self.default_limit
        keys = dict(self.dlp_keys)
        routes = list(self.routes)
        breakers, backups, default_breaker = dict(self.breakers), dict(self.backups), self.default_breaker
        capabilities, features = dict(self.capabilities), dict(self.features)
        blocked, trusted = dict(self.blocked), dict(self.trusted)
        approval_expires_ms = self.approval_expires_ms
        e2e_suites = self.e2e_suites
        totals, ceilings = dict(self.totals), dict(self.ceilings)
        retention = dict(self.retention)
        fingerprints, payloads = dict(self.audit_fingerprints), dict(self.audit_payloads)
        routing = dict(self.routing)
        for other in others:
            fingerprints |= other.audit_fingerprints
            payloads |= other.audit_payloads
            routing |= other.routing
            totals |= other.totals
            ceilings |= other.ceilings
            retention |= other.retention
            rules += other.rules
            for name, members in other.roles.items():
                roles.setdefault(name, []).extend(members)
            limits |= other.limits
            actions |= other.dlp_actions
            keys |= other.dlp_keys
            routes += other.routes
            breakers |= other.breakers
            backups |= other.backups
            default_breaker = other.default_breaker or default_breaker
            approval_expires_ms = other.approval_expires_ms or approval_expires_ms
            default = other.default_limit or default
            capabilities |= other.capabilities
            features |= other.features
            blocked |= other.blocked
            trusted |= other.trusted
            e2e_suites = other.e2e_suites or e2e_suites
        return FilePolicy(
            without_repeats(rules),
            {name: tuple(dict.fromkeys(members)) for name, members in roles.items()},
            default,
            limits,
            actions,
            tuple(routes),
            default_breaker,
            breakers,
            backups,
            keys,
            capabilities,
            features,
            blocked,
            trusted,
            approval_expires_ms,
            e2e_suites,
            totals,
            ceilings,
            retention,
            fingerprints,
            payloads,
            routing,
        )


class MarkEntry(BaseModel):
    """Why an agent is blocked or trusted, and until when."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    reason: str = Field(default="", max_length=500)
    """Why; shown with each refusal and in the audit."""
    expires: AwareDatetime | None = None
    """When it ends, as 2026-12-31T00:00:00Z."""

    def as_mark(self, source: str) -> Mark:
        """The same for the policy document."""
        return Mark(self.reason, int(self.expires.timestamp() * 1000) if self.expires else 0, source)


class RetentionEntry(BaseModel):
    """How long audit records are kept for one framework; what is left out is as usual for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hot_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] | None = None
    """Days for which records stay in the store."""
    archive_years: Annotated[int, Field(ge=0, le=MOST_YEARS)] | None = None
    """Years for which archived segments are kept at least."""
    delete: bool = False
    """Whether older segments are deleted; their hashes stay."""

    def as_rule(self, framework: str) -> RetentionRule:
        """The same for the policy document."""
        usual = usual_rule(framework)
        return RetentionRule(
            usual.hot_days if self.hot_days is None else self.hot_days,
            usual.archive_years if self.archive_years is None else self.archive_years,
            self.delete,
        )


class RoutingEntry(BaseModel):
    """Which agents get what is sent to a route or a capability, and how one of them is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    to: Annotated[list[str], Field(min_length=1)]
    """Agents, role:NAME or capability:NAME."""
    type: TypeGlob = "*"
    """Pattern of message types."""
    capability: str = ""
    """It decides about what is sent to this capability; about what is sent to its route if left out."""
    strategy: Strategy = "least_loaded"
    """least_loaded, round_robin, weighted, best_match or sticky."""
    weights: dict[Name, Annotated[int, Field(ge=0)]] = {}
    """Of weighted: agent -> its share, 1 if left out."""
    key: Annotated[str, AfterValidator(_pointer)] = ""
    """Of sticky: JSON Pointer of what goes to the same agent each time; the sender if left out."""

    def as_rule(self, source: str) -> RoutingRule:
        """The same for the policy document."""
        return RoutingRule(
            tuple(self.to), self.type, self.capability, self.strategy, dict(self.weights), self.key, source
        )


class PolicyFile(BaseModel):
    """The fields of policy.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    rules: list[Permission] = []
    """Who may send what to whom; nothing is allowed without a rule and deny wins."""
    roles: dict[Name, list[Name]] = {}
    """Name of a role -> its members; rules and limits name it as role:NAME."""
    limits: dict[Party, Limit] = {}
    """Agent, role:NAME or `default` -> its limit."""
    totals: dict[TotalName, Limit] = {}
    """role:NAME -> what its members may send together; capability:NAME -> what all may send to those with it."""
    ceilings: dict[Party, Priority] = {}
    """Agent, role:NAME or `default` -> the highest priority; above it is lowered to it."""
    dlp: dict[str, DlpAction] = {}
    """Rule id, category or `*` -> block, redact, alert, off or encrypt:NAME."""
    dlp_keys: dict[Name, str] = {}
    """Name of a key -> the public half that `mas dlp key` prints, for encrypt:NAME."""
    e2e_suites: Annotated[list[Literal["hpke", "rsa-oaep"]], Field(min_length=1)] | None = None
    """Ways of end-to-end encryption that are let through, preferred first; both when left out."""
    routes: list[RouteEntry] = []
    """What is different for the messages of some senders to some targets."""
    routing: dict[Name, RoutingEntry] = {}
    """Name -> which agents get what is sent to a route or a capability."""
    breaker: dict[Name, CircuitBreakerSettings] = {}
    """Target or `default` -> when its circuits open, and how they close again."""
    backups: dict[Name, Name] = {}
    """Target -> the agent that gets its messages while its circuit is open."""
    capabilities: dict[Annotated[str, AfterValidator(checked_type_glob)], list[Party]] = {}
    """Pattern of capabilities -> the only ones who may claim them."""
    features: dict[Annotated[str, AfterValidator(_feature)], bool] = {}
    """Switches of the policy; these win over `gateway.features` in mas.yaml."""
    blocked: dict[Name, MarkEntry] = {}
    """Agents from and to whom nothing passes, whatever else is allowed."""
    trusted: dict[Name, MarkEntry] = {}
    """Agents that may send to everybody without approval, unless a rule denies it."""
    approval: ApprovalEntry | None = None
    """How messages wait that a rule holds."""
    audit: AuditEntry = AuditEntry()
    """What the audit keeps of payloads."""
    retention: dict[Name, RetentionEntry] = {}
    """Framework (hipaa, soc2, gdpr, pci, sox, or a name of your own) -> how long audit records are kept."""


def load_policy_file(path: Path, source: str = "") -> FilePolicy:
    """The policy in the file at `path`; its rules carry `source`, `file:<name>` when left out.

    Raises:
        SpecInvalid: The file cannot be used; names line and fix.
    """
    read = validated(PolicyFile, read_yaml(path))
    limits = {who: limit.as_rate_limit() for who, limit in read.limits.items()}
    default = limits.pop(DEFAULT_LIMIT, None)
    source = source or f"file:{path.name}"
    breakers = {target: limits.as_breaker_limits() for target, limits in read.breaker.items()}
    default_breaker = breakers.pop(DEFAULT_LIMIT, None)
    return FilePolicy(
        rules=rules_of(read.rules, source),
        roles={name: tuple(members) for name, members in read.roles.items()},
        default_limit=default,
        limits=limits,
        dlp_actions=dict(read.dlp),
        dlp_keys=dict(read.dlp_keys),
        routes=tuple(route for entry in read.routes for route in entry.routes(source)),
        default_breaker=default_breaker,
        breakers=breakers,
        e2e_suites=tuple(read.e2e_suites) if read.e2e_suites else None,
        backups=dict(read.backups),
        capabilities={glob: tuple(parties) for glob, parties in read.capabilities.items()},
        features={str(name): value for name, value in read.features.items()},
        blocked={name: entry.as_mark(source) for name, entry in read.blocked.items()},
        trusted={name: entry.as_mark(source) for name, entry in read.trusted.items()},
        totals={name: limit.as_rate_limit() for name, limit in read.totals.items()},
        ceilings={ANYONE if who == DEFAULT_LIMIT else who: most for who, most in read.ceilings.items()},
        approval_expires_ms=int(read.approval.expires * 1000) if read.approval else None,
        retention={name: entry.as_rule(name) for name, entry in read.retention.items()},
        audit_fingerprints={str(glob): mode for glob, mode in read.audit.fingerprints.items()},
        audit_payloads=dict(read.audit.payloads),
        routing={name: entry.as_rule(source) for name, entry in read.routing.items()},
    )


def rules_of(permissions: Iterable[Permission], source: str) -> tuple[Rule, ...]:
    """The rules of all entries, each once."""
    return without_repeats(rule for permission in permissions for rule in permission.rules(source))
