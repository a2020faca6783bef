"""Which audit records are wanted, said once for every way to read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mas_core.audit import terms
from mas_core.audit.terms import Wanted
from mas_core.model.audit_record import AuditRecord
from mas_core.security.type_glob import check_glob, compile_glob


@dataclass(frozen=True)
class AuditFilter:
    """Which records are wanted; everything that is left out matches all."""

    sender: str = ""
    target: str = ""
    message_type: str = ""
    """A glob, such as `invoice.*`."""
    decision: str = ""
    kind: str = ""
    rule: str = ""
    """A rule that decided or found something."""
    since: int = 0
    """Unix milliseconds."""
    until: int = 0
    finding: str = ""
    """The rule or the category of something that was found in the payload."""
    actor: str = ""
    """The operator: user@host, or the user alone."""

    def __post_init__(self) -> None:
        """Check the pattern for types.

        Raises:
            UsageError: It cannot be one.
        """
        if self.message_type:
            check_glob(self.message_type)

    def matches(self, record: AuditRecord) -> bool:
        """Whether a record is wanted."""
        return (
            (not self.sender or record.sender == self.sender)
            and (not self.target or record.target == self.target)
            and (not self.message_type or self._matches_type(record.type))
            and (not self.decision or record.decision == self.decision)
            and (not self.kind or record.kind == self.kind)
            and (
                not self.rule
                or record.rule == self.rule
                or any(finding.rule == self.rule for finding in record.findings)
            )
            and (not self.since or record.time >= self.since)
            and (not self.until or record.time < self.until)
            and (
                not self.finding
                or any(self.finding in (finding.rule, finding.category) for finding in record.findings)
            )
            and (not self.actor or self.actor in (record.actor, record.actor.partition("@")[0]))
        )

    def is_past(self, record: AuditRecord, *, newest_first: bool) -> bool:
        """Whether neither this record nor any that comes after it, in this order, can be wanted."""
        if newest_first:
            return record.time < self.since
        return 0 < self.until <= record.time

    @property
    def wanted(self) -> Wanted:
        """What the index is asked for."""
        exact = [
            (terms.SENDER, self.sender),
            (terms.TARGET, self.target),
            (terms.DECISION, self.decision),
            (terms.KIND, self.kind),
            (terms.RULE, self.rule),
            (terms.FINDING, self.finding),
            (terms.ACTOR, self.actor),
        ]
        prefix = re.split(r"[*?]", self.message_type, maxsplit=1)[0]
        return Wanted(
            tuple(letter + value for letter, value in exact if value),
            prefix,
            self._matches_type if self.message_type else None,
            since=self.since,
            until=self.until,
        )

    @cached_property
    def _matches_type(self) -> Callable[[str], bool]:
        return compile_glob(self.message_type)


EVERYTHING = AuditFilter()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with where it stands and its stored bytes."""

    partition: int
    text: bytes
    record: AuditRecord
