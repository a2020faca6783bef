"""The policy document: who may send what to whom, and the limits and switches of the gateway.

One document holds the whole policy. It is stored with a revision and the gateway's MAC, and
replaced as a whole.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from mas_core.model.operators import OperatorRecord
from mas_core.model.retention import RetentionRule
from mas_core.model.routing import RoutingRule
from mas_core.model.standing import ACTIVE, Standing, StandingKind

Effect = Literal["allow", "hold", "deny"]

EFFECTS: Final[tuple[Effect, ...]] = ("allow", "hold", "deny")
"""From the weakest to the strongest: deny wins over hold, and hold over allow."""

ANYONE = "*"


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the access policy.

    Deny wins over hold, hold over allow, and nothing passes without a rule. What a rule holds may go once a
    person has approved it, and needs no other rule to allow it.
    """

    id: str
    effect: Effect
    sender: str
    """An agent id, `role:NAME`, or `*` for every registered agent."""
    target: str
    """An agent id, `role:NAME`, or `*` for every registered agent."""
    type: str = "*"
    """Glob over message types: `*` matches any run of characters, `?` one."""
    action: str = "*"
    """send, request, or `*` for both."""
    expires: int = 0
    """Unix milliseconds after which the rule no longer counts; 0 for never."""
    source: str = "cli"
    """Where the rule came from: `cli`, `api`, or `file:<name>`; loading files replaces only file rules."""
    reason: str = ""
    by: str = ""
    """Who made it: user@host."""
    created: int = 0
    """Unix milliseconds."""


class Route(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is different for the messages of some senders to some targets; the most specific route wins."""

    sender: str = ANYONE
    """An agent id, `role:NAME`, or `*` for everybody."""
    target: str = ANYONE
    """An agent id, `role:NAME`, or `*` for everybody."""
    type: str = "*"
    """Glob over message types."""
    e2e: str = ""
    """End-to-end encryption: forbid, allow or require; empty when the route does not say."""
    dlp: dict[str, str] = {}
    """Rule id, category or `*` -> what is done about it, in place of what the policy says for all."""
    source: str = "cli"
    """Where the route came from, as for rules."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Why an agent is trusted or blocked, and until when."""

    reason: str = ""
    expires: int = 0
    """Unix milliseconds after which it no longer counts; 0 for never."""
    by: str = ""
    """Who said so: user@host."""
    created: int = 0
    """Unix milliseconds."""


class RevokedCertificate(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A certificate that does not count any more although it has not ended."""

    holder: str = ""
    """Whom it was for, as `agent NAME`, `operator NAME` or `server NAME`; empty where that is not known."""
    expires: int = 0
    """Unix milliseconds at which it ends anyway, so that nobody needs to remember it; 0 where not known."""
    reason: str = ""
    by: str = ""
    """Who said so: user@host."""
    created: int = 0
    """Unix milliseconds."""


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many messages may be sent in any sliding minute and hour; 0 means none at all."""

    per_minute: int = 100
    per_hour: int = 1000
    burst: int = 0
    """In any sliding second; 0 sets no bound of its own."""


class BreakerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a circuit opens, and how it closes again."""

    failures: int = 5
    """Failures in a row that open it."""
    rate: float = 0.5
    """Share of failures that opens it too, where there are enough calls to speak of a share."""
    calls: int = 10
    """Calls from which on the share counts."""
    window_ms: int = 60_000
    """How long a call counts; what came before the first failure does not."""
    timeout_ms: int = 60_000
    """How long it stays open before trials pass."""
    jitter: float = 0.2
    """By which part of itself the time-out is lengthened at most, by chance."""
    trials: int = 1
    """Trials that are on their way at the same time."""
    successes: int = 2
    """Trials that have to go well for it to close."""


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switches of the policy stages. Authentication, replay guard and audit are not optional."""

    rbac: bool = True
    rate_limit: bool = True
    dlp: bool = True
    message_signing: bool = False
    circuit_breaker: bool = False
    delegation_intersect: bool = False
    """Whether what is sent on behalf of others passes only if each of them could send it itself."""


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides about a message."""

    revision: int = 0
    rules: tuple[Rule, ...] = ()
    last_rule: int = 0
    """Number of the newest rule that ever was, so that no id is given twice: the audit names rules by id."""
    roles: dict[str, tuple[str, ...]] = {}
    """Role name -> ids of its members."""
    roles_of_files: dict[str, tuple[str, ...]] = {}
    """The roles that files named when they were loaded last."""
    default_limit: RateLimit = RateLimit()
    limits: dict[str, RateLimit] = {}
    """Agent id, or `role:NAME` for each of its members -> its limit."""
    totals: dict[str, RateLimit] = {}
    """`role:NAME` -> what its members may send together; `capability:NAME` -> what all may send together to
    agents that have it."""
    ceilings: dict[str, int] = {}
    """Agent id, `role:NAME` or `*` -> the highest priority of what it sends; above it is lowered to it."""
    limits_of_files: dict[str, RateLimit] = {}
    """What files said when they were loaded last: name, `*` or `total:NAME` -> limit. What commands have changed
    since stays until a file says something new."""
    ceilings_of_files: dict[str, int] = {}
    """The same for ceilings."""
    features: Features = Features()
    dlp_actions: dict[str, str] = {}
    """Rule id, category or `*` -> block, redact, alert, off or encrypt:NAME; overrides the rule pack."""
    dlp_keys: dict[str, str] = {}
    """Name of a key -> its public half, in base64url: what is found may be encrypted to it."""
    routes: tuple[Route, ...] = ()
    """What is different for some senders and targets."""
    routing: dict[str, RoutingRule] = {}
    """Name -> which agents get what is sent to a route or a capability."""
    standings: dict[str, Standing] = {}
    """Agents that an operator has paused, drained, quarantined or evicted."""
    blocked: dict[str, Mark] = {}
    """Agent id -> why nothing from it or to it passes, whatever else is allowed."""
    trusted: dict[str, Mark] = {}
    """Agent id -> why it may send to everybody, without approval, unless a rule denies it."""
    revoked_certificates: dict[str, RevokedCertificate] = {}
    """Serial number, in lower-case hexadecimal without leading zeros -> a certificate that is refused."""
    signature_max_age_s: float = 300.0
    """Seconds for which a signed message is accepted after it was signed."""
    e2e_suites: tuple[str, ...] = ("hpke", "rsa-oaep")
    """Ways of end-to-end encryption that are let through, preferred first."""
    default_breaker: BreakerLimits = BreakerLimits()
    breakers: dict[str, BreakerLimits] = {}
    """Target -> when its circuits open, where that differs from the default."""
    backups: dict[str, str] = {}
    """Target -> the agent that gets its messages while its circuit is open."""
    capabilities: dict[str, tuple[str, ...]] = {}
    """Glob over capabilities -> the only ones who may claim them: agents, `role:NAME`, `*`; others are free."""
    feature_overrides: dict[str, bool] = {}
    """Switches that an operator set by hand; files do not set them back."""
    shadow: PolicyDocument | None = None
    """A policy that is tried beside this one: what it would decide otherwise is recorded, and changes nothing."""
    audit_fingerprints: dict[str, str] = {}
    """Glob over message types -> fields, or payload: whether each leaf of a payload gets a keyed fingerprint in
    the audit, or the payload as a whole alone."""
    audit_payloads: dict[str, str] = {}
    """Glob over message types of which the payload is kept, sealed -> JSON Pointer of the subject in it; empty
    where the subject is the sender."""
    approval_expires_ms: int = 3_600_000
    """How long a held message waits for somebody to approve it."""
    retention: dict[str, RetentionRule] = {}
    """Framework -> how long audit records are kept for it; of several the longest time counts."""
    retention_of_files: dict[str, RetentionRule] = {}
    """What files said about retention when they were loaded last."""
    operators: dict[str, OperatorRecord] = {}
    """Name -> who works on the system, and in which role; while there is none, whoever has the keys does."""
    changed_by: str = ""
    changed_at: int = 0
    """Unix milliseconds."""
    change: str = ""
    """What the last change was, in words."""

    def standing_of(self, agent_id: str) -> StandingKind:
        """What an operator has said about an agent; active when nothing."""
        standing = self.standings.get(agent_id)
        return standing.kind if standing is not None else ACTIVE

    def block_rules(self) -> tuple[Rule, ...]:
        """The blocks as rules: one for each direction, both of the same id."""
        return tuple(
            _marked(f"block:{agent_id}", "deny", sender, target, mark)
            for agent_id, mark in self.blocked.items()
            for sender, target in ((agent_id, ANYONE), (ANYONE, agent_id))
        )

    def trust_rules(self) -> tuple[Rule, ...]:
        """What trust gives, as rules."""
        return tuple(
            _marked(f"trust:{agent_id}", "allow", agent_id, ANYONE, mark)
            for agent_id, mark in self.trusted.items()
        )

    def breaker_of(self, target: str) -> BreakerLimits:
        """When the circuits of a target open."""
        return self.breakers.get(target, self.default_breaker)


def _marked(rule_id: str, effect: Effect, sender: str, target: str, mark: Mark) -> Rule:
    return Rule(
        rule_id,
        effect,
        sender,
        target,
        expires=mark.expires,
        source="operator",
        reason=mark.reason,
        by=mark.by,
        created=mark.created,
    )
