"""Looks closely at the place where a log does not fit, and says what is wrong and what is beyond doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mas_core.audit.checkpoint_verify import Lookahead
from mas_core.audit.diagnosis import ChainTruth, Diagnosis, SignedTruth, diagnose
from mas_core.audit.log_verify import LogVerifier
from mas_core.audit.merkle import ReadHash
from mas_core.audit.verify import Tampering

LINES_BEFORE: Final = 16_384
"""Lines that are looked at before the place, where the last checkpoint is so far away."""
LINES_BEHIND: Final = 4_096
"""Lines that are looked at behind it."""


class Examination:
    """Begins where a `LogVerifier` stopped: asks for `count` lines from record `first` on, and concludes.

    Args:
        log: What stopped.
        checkpoints: Where it has its checkpoints from.
        read_hash: Gives a stored hash of the tree.
        end: Number and hash of the last record, when something but a checkpoint names it.
    """

    def __init__(
        self,
        log: LogVerifier,
        checkpoints: Lookahead,
        read_hash: ReadHash,
        end: tuple[int, str] | None = None,
    ) -> None:
        odd = log.first_odd or log.size
        pending = [log.pending] if log.pending is not None else []
        self._anchors = [*pending, *checkpoints.to(odd + LINES_BEHIND)] if pending else []
        self._end = end
        self._log = log
        self._truth = SignedTruth(read_hash, self._anchors)
        self._is_signed = self._truth.of(odd) is not None
        trusted = log.trusted.size
        self.first = odd if self._is_signed else max(trusted + 1, odd - LINES_BEFORE)
        self.count = odd - self.first + LINES_BEHIND
        self.verified_to = trusted
        """Up to this number records are beyond doubt, once it is clear what is wrong."""
        if self._is_signed and self._truth.begins_with(odd - 1):
            self.verified_to = odd - 1

    def conclude(self, lines: Sequence[bytes]) -> Diagnosis | None:
        """What is wrong; None when nothing is but the stored hashes."""
        trusted = self._log.trusted
        found = diagnose(lines, self.first, self._truth) if self._is_signed else None
        if found is None:
            before = trusted.head if self.first == trusted.size + 1 else None
            anchors = [(found.size, found.head) for found in self._anchors if found.head]
            known = ChainTruth(lines, self.first, before, [*anchors, *([self._end] if self._end else [])])
            found = diagnose(lines, self.first, known)
            is_last = found is not None and found.first_bad == self.first + len(lines) - 1
            if found is not None and is_last and found.kind is Tampering.EDITED:
                found = found._replace(
                    problem=f"{found.problem}, or the log was rewritten from a record after {trusted.size} on"
                )
        if found is None and not self._log.is_hash_odd:
            last = self._log.size
            found = Diagnosis(
                Tampering.REWRITTEN,
                trusted.size + 1,
                f"the log was rewritten from a record between {trusted.size + 1} and {last} on",
            )
        if found is not None:
            self.verified_to = min(self.verified_to, found.first_bad - 1)
        return found
