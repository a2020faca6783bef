"""Replays recorded decisions through another policy, and says "unknown" where a record lacks what is needed.

A record holds who sent what type to whom and when, never the payload, and not whether it was a request. So
access rules, blocks and limits are asked again, and what the scan would find is known only as far as it was
scanned then and the policy's part about scanning is the same.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from mas_core.base.resources import action_on, is_resource
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision
from mas_core.model.policy import PolicyDocument
from mas_core.ops import audit
from mas_core.ops.system import System
from mas_core.security.access import ACTIONS, BLOCK, AccessPolicy
from mas_core.security.rate_limits import RateLimits

UNKNOWN = "unknown"
MINUTE_MS = 60_000
HOUR_MS = 3_600_000

_BEFORE_ACCESS = frozenset(
    {
        Decision.UNAUTHENTICATED,
        Decision.INVALID,
        Decision.EXPIRED,
        Decision.REPLAYED,
        Decision.QUARANTINED,
        Decision.STORE_FULL,
    }
)
"""What was decided without asking who may send what to whom."""
_NEVER_SCANNED = frozenset({Decision.DENIED, Decision.HELD, Decision.RATE_LIMITED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Recorded messages of one kind, and what the other policy would have made of them."""

    sender: str
    target: str
    message_type: str
    recorded: str
    simulated: str
    """A decision, or unknown."""
    rule: str
    reason: str
    count: int

    @property
    def is_changed(self) -> bool:
        """Whether the other policy surely decides otherwise."""
        return self.simulated not in (UNKNOWN, self.recorded)


@dataclass(frozen=True, slots=True)
class Simulation:
    """What another policy would have made of what was recorded."""

    messages: int
    same: int
    changed: int
    unknown: int
    outcomes: tuple[Outcome, ...]
    """What is not the same, the most frequent first."""


async def simulate(
    system: System,
    document: PolicyDocument,
    *,
    since: int,
    until: int = 0,
    told: Callable[[int], None] = lambda _: None,
) -> Simulation:
    """Put the recorded messages of a span through another policy.

    Args:
        system: Whose audit is read.
        document: The other policy.
        since: Unix milliseconds.
        until: Unix milliseconds; 0 for now.
        told: Told how many messages were put through it.

    Raises:
        ConfigurationError: The policy makes no sense.
    """
    present = await system.policy.load() or PolicyDocument()
    replay = _Replay(document, present)
    counts: Counter[tuple[str, str, str, str, str, str, str]] = Counter()
    messages = 0
    # An hour more is read, so that the windows of limits are filled when the span begins.
    wanted = audit.AuditFilter(kind="message", since=max(0, since - HOUR_MS), until=until)
    async for found in audit.records(system, wanted, newest_first=False):
        record = found.record
        is_within_limit = replay.take_place(record)
        if record.time < since:
            continue
        messages += 1
        told(messages)
        simulated, rule, reason = replay.judge(record, is_within_limit=is_within_limit)
        if simulated != record.decision:
            counts[record.sender, record.target, record.type, record.decision, simulated, rule, reason] += 1
    outcomes = tuple(Outcome(*names, count) for names, count in counts.most_common())
    changed = sum(outcome.count for outcome in outcomes if outcome.is_changed)
    unknown = sum(outcome.count for outcome in outcomes if not outcome.is_changed)
    return Simulation(messages, messages - changed - unknown, changed, unknown, outcomes)


class _Replay:
    def __init__(self, document: PolicyDocument, present: PolicyDocument) -> None:
        self._document = document
        self._access = AccessPolicy(document)
        self._scans_alike = _scanning(document) == _scanning(present)
        self._limits = RateLimits(document)
        self._passed: dict[str, deque[int]] = {}

    def take_place(self, record: AuditRecord) -> bool:
        """Whether the sender's limit has a place for this message, which is taken then."""
        if not self._document.features.rate_limit or _is_reply(record) or not record.sender:
            return True
        limit = self._limits.of(record.sender)
        passed = self._passed.setdefault(record.sender, deque())
        while passed and passed[0] <= record.time - HOUR_MS:
            passed.popleft()
        in_minute = 0
        for moment in reversed(passed):
            if moment <= record.time - MINUTE_MS or in_minute >= limit.per_minute:
                break
            in_minute += 1
        if len(passed) >= limit.per_hour or in_minute >= limit.per_minute:
            return False
        passed.append(record.time)
        return True

    def judge(self, record: AuditRecord, *, is_within_limit: bool) -> tuple[str, str, str]:
        """Decision, rule and reason under the other policy; decision, rule and no reason if it is the same."""
        recorded = record.decision
        same = (recorded, record.rule, "")
        if recorded in _BEFORE_ACCESS or (recorded == Decision.NOT_FOUND and not record.rule):
            return same
        block = self._access.block_between(record.sender, record.target, record.time)
        if block is not None:
            return Decision.DENIED, block.id, f"{block.id.removeprefix(BLOCK)} is blocked"
        if _is_reply(record):
            return same
        outcomes = {
            found.outcome: found
            for found in (
                self._access.decide(record.sender, record.target, record.type, action, record.time)
                for action in _actions(record)
            )
        }
        if len(outcomes) > 1:
            return UNKNOWN, "", "the record does not say whether it was a request"
        ((outcome, found),) = outcomes.items()
        if outcome == "denied":
            return Decision.DENIED, found.rule_id, found.reason
        if not is_within_limit:
            return Decision.RATE_LIMITED, "", "Rate limit exceeded"
        if outcome == "held" and recorded != Decision.SCHEDULED:
            return Decision.HELD, found.rule_id, found.reason
        if not self._document.features.dlp:
            passes = recorded in _NEVER_SCANNED or recorded in (
                Decision.BLOCKED,
                Decision.REDACTED,
                Decision.ALERT,
                Decision.UNSCANNABLE,
            )
            return (Decision.ALLOWED, found.rule_id, found.reason) if passes else same
        if recorded in _NEVER_SCANNED:
            return UNKNOWN, found.rule_id, "access would be allowed; the payload was never scanned"
        if not self._scans_alike:
            return UNKNOWN, found.rule_id, "scanning differs, and the record does not hold the payload"
        return same


def _is_reply(record: AuditRecord) -> bool:
    return bool(record.correlation_id)


def _scanning(document: PolicyDocument) -> tuple[object, ...]:
    return (document.features.dlp, document.dlp_actions, document.routes)


def _actions(record: AuditRecord) -> tuple[str, ...]:
    """What a rule may have had to permit: the record does not say whether a message was a request."""
    if is_resource(record.target):
        return (action_on(record.target, record.type),)
    return tuple(reversed(ACTIONS))
