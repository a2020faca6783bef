"""Counts the records of a period as they stream past; memory does not grow with their number."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from mas_core.audit.report.period import Period
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision, Finding

MAX_NAMES: Final = 10_000
"""Different names that a count tells apart; what comes after so many is counted together."""
KEPT_ACTS: Final = 500
"""Acts of operators that are listed; all are counted."""
MAX_BUCKETS: Final = 100
"""Bars of a plot over time."""

_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
_WIDTHS: Final = (
    *(_MINUTE * count for count in (1, 5, 15, 60, 360)),
    *(_DAY * count for count in (1, 7, 30, 91, 365, 3650)),
)
_DELIVERED: Final = frozenset(str(item) for item in Decision if item.is_delivered)
_ACCEPTED: Final = frozenset(str(item) for item in Decision if item.is_accepted)
_SCHEDULED: Final = str(Decision.SCHEDULED)
_ENDED: Final = frozenset({"done", "failed"})
_FAILED_IDENTITY: Final = frozenset({str(Decision.UNAUTHENTICATED), str(Decision.REPLAYED)})


class NameCount:
    """How often each name came, for the first `MAX_NAMES` of them; of the others how often in all."""

    __slots__ = ("_counts", "others", "total")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.others = 0
        self.total = 0

    def add(self, name: str) -> None:
        """Count a name once."""
        self.total += 1
        if name in self._counts or len(self._counts) < MAX_NAMES:
            self._counts[name] += 1
        else:
            self.others += 1

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def __len__(self) -> int:
        return len(self._counts)

    def sum_of(self, names: Iterable[str]) -> int:
        """How often any of these names came."""
        return sum(self._counts[name] for name in names)

    def starting(self, prefix: str) -> int:
        """How often names came that begin like this."""
        return sum(count for name, count in self._counts.items() if name.startswith(prefix))

    def most(self, count: int | None = None) -> list[tuple[str, int]]:
        """The names that came most often, with their counts; equal ones in order of the alphabet."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:count]


class Bucket(msgspec.Struct):
    """What lies in one stretch of the period."""

    start: int
    """Unix milliseconds."""
    delivered: int = 0
    held: int = 0
    refused: int = 0
    others: int = 0
    """Records that are not of messages."""

    @property
    def messages(self) -> int:
        """Messages that were decided."""
        return self.delivered + self.held + self.refused

    @property
    def records(self) -> int:
        """All records."""
        return self.messages + self.others


class FindingKey(NamedTuple):
    """What findings are counted by."""

    rule: str
    category: str
    action: str


class Act(msgspec.Struct, frozen=True):
    """One act of an operator, as it is recorded."""

    seq: int
    partition: int
    time: int
    actor: str
    action: str
    """What was done, such as `token.rotate`; of older records their kind."""
    outcome: str
    """done or failed."""
    reason: str
    subjects: str


class Tally:
    """What the records of a period come to.

    Args:
        period: The span; records outside of it must not be given.
    """

    def __init__(self, period: Period) -> None:
        self.period = period
        length = period.until - period.since
        self.bucket_ms = next(
            (width for width in _WIDTHS if length <= width * MAX_BUCKETS), length // MAX_BUCKETS + 1
        )
        # Where stretches are whole days or less, they begin where clocks show them beginning.
        whole = min(self.bucket_ms, _DAY)
        self._origin = period.since - period.since % whole
        self.buckets = [Bucket(start) for start in range(self._origin, period.until, self.bucket_ms)]
        self.records = 0
        self.first = 0
        """Time of the first record, Unix milliseconds; 0 while there is none."""
        self.last = 0
        self.kinds = NameCount()
        self.decisions = NameCount()
        """Of messages."""
        self.refused_by = NameCount()
        """Rules that refused or held messages."""
        self.refused_senders = NameCount()
        self.refused_pairs = NameCount()
        self.failed_identities = NameCount()
        """What could not prove who it is, or came twice: kind of the record and decision."""
        self.findings: dict[FindingKey, int] = {}
        self.other_findings = 0
        self.with_findings = 0
        """Messages in which something was found."""
        self.signed = 0
        self.encrypted = 0
        """Messages that were end-to-end encrypted, so that nobody could look into them."""
        self.fingerprinted = 0
        self.acts: deque[Act] = deque(maxlen=KEPT_ACTS)
        """The newest acts of operators."""
        self.act_count = 0
        """Acts that were carried out or failed."""
        self.acts_begun = 0
        self.acts_ended = 0
        self.acts_without_reason = 0
        self.unvouched = 0
        """Entries of operators that nobody vouches for: forged, played back, or made without the gateway's keys."""
        self.actions = NameCount()
        self.questions = NameCount()
        """What was asked of the audit."""
        self.askers = NameCount()
        self.actors = NameCount()

    def add(self, partition: int, record: AuditRecord) -> None:
        """Count one record of the period."""
        self.records += 1
        time, kind, decision = record.time, record.kind, record.decision
        if not self.first or time < self.first:
            self.first = time
        self.last = max(self.last, time)
        self.kinds.add(kind)
        bucket = self.buckets[(time - self._origin) // self.bucket_ms]
        if kind == "message":
            self._add_message(record, bucket)
        else:
            bucket.others += 1
            if kind == "audit.query":
                self.questions.add(record.type)
                self.askers.add(record.actor)
            elif kind == "operator" or record.actor:
                self._add_act(partition, record)
        if decision in _FAILED_IDENTITY:
            self.failed_identities.add(f"{kind}: {decision}")
        if record.findings:
            self._add_findings(record.findings)

    def _add_message(self, record: AuditRecord, bucket: Bucket) -> None:
        decision, details = record.decision, record.details
        self.decisions.add(decision)
        if decision in _DELIVERED:
            bucket.delivered += 1
        elif decision == _SCHEDULED:
            # It went to its target when it was due, and that is another record.
            bucket.others += 1
        else:
            if decision in _ACCEPTED:
                bucket.held += 1
            else:
                bucket.refused += 1
            self.refused_by.add(record.rule)
            self.refused_senders.add(record.sender)
            self.refused_pairs.add(f"{record.sender} → {record.target}")
        if record.payload_hmac:
            self.fingerprinted += 1
        if details:
            self.signed += "signature" in details
            self.encrypted += "encryption" in details

    def _add_findings(self, findings: Iterable[Finding]) -> None:
        self.with_findings += 1
        for finding in findings:
            key = FindingKey(finding.rule, finding.category, finding.action)
            if key in self.findings or len(self.findings) < MAX_NAMES:
                self.findings[key] = self.findings.get(key, 0) + 1
            else:
                self.other_findings += 1

    def _add_act(self, partition: int, record: AuditRecord) -> None:
        if record.kind == "operator":
            if record.decision == "begun":
                self.acts_begun += 1
                return
            if record.decision not in _ENDED:
                self.unvouched += 1
                return
            self.acts_ended += 1
        action = record.type or record.kind
        subjects = record.details.get("subjects")
        about = " ".join(map(str, subjects)) if isinstance(subjects, list) else record.target
        outcome = record.decision if record.kind == "operator" else "done"
        self.act_count += 1
        self.actions.add(action)
        self.actors.add(record.actor)
        self.acts_without_reason += not record.reason
        self.acts.append(
            Act(record.seq, partition, record.time, record.actor, action, outcome, record.reason, about)
        )

    @property
    def delivered(self) -> int:
        """Messages that went on to their target."""
        return self.decisions.sum_of(_DELIVERED)

    @property
    def refused(self) -> int:
        """Messages that went nowhere."""
        return self.decisions.total - self.decisions.sum_of(_ACCEPTED)

    def found(self, *, category: str = "", action: str = "") -> int:
        """How many findings there were of a category and with an action; empty ones match all."""
        return sum(
            count
            for key, count in self.findings.items()
            if category in {"", key.category} and action in {"", key.action}
        )

    def stopped(self) -> list[tuple[str, int]]:
        """Messages that were not delivered, by decision, most frequent first."""
        return [item for item in self.decisions.most() if item[0] not in _DELIVERED and item[0] != _SCHEDULED]

    def found_by_rule(self) -> list[tuple[str, int]]:
        """Findings by rule, most frequent first."""
        counts: Counter[str] = Counter()
        for key, count in self.findings.items():
            counts[key.rule] += count
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def silences(self, until: int) -> list[tuple[int, int]]:
        """Stretches without any record, begin and end, up to `until` (Unix milliseconds)."""
        found: list[tuple[int, int]] = []
        for bucket in self.buckets:
            begin, end = max(bucket.start, self.period.since), min(bucket.start + self.bucket_ms, until)
            if bucket.records or begin >= end:
                continue
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
        return found
