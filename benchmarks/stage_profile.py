"""Where a gateway's processor time goes, by the stage that it works for.

A timer that counts processor time interrupts the process; the stack at that moment belongs to the stage whose
module is found first, from the inside outwards. It costs about one percent. Kernels take such a sample each 1 to
4 ms, whatever is asked for, so a profile needs a run of a few seconds.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from types import FrameType

INTERVAL_S = 0.001
STAGES = (
    "wire",
    "open",
    "form",
    "access",
    "rate",
    "dlp",
    "inbox",
    "audit",
    "seal",
    "commit",
    "judge",
    "other",
)

_BY_PATH = (
    ("gateway/opening", "open"),
    ("gateway/sessions", "open"),
    ("stages/check_form", "form"),
    ("stages/check_expiry", "form"),
    ("stages/find_target", "access"),
    ("stages/check_standing", "access"),
    ("stages/check_permit", "access"),
    ("stages/authorise", "access"),
    ("stages/check_blocked", "access"),
    ("stages/check_encryption", "access"),
    ("stages/compare_shadow", "access"),
    ("stages/hold_for_approval", "access"),
    ("stages/check_signature", "signature"),
    ("stages/check_breaker", "breaker"),
    ("gateway/breakers", "breaker"),
    ("gateway/circuit_records", "breaker"),
    ("stages/limit_totals", "rate"),
    ("stages/cap_priority", "rate"),
    ("gateway/totals", "rate"),
    ("gateway/places", "rate"),
    ("store/limits", "rate"),
    ("security/access", "access"),
    ("stages/limit_rate", "rate"),
    ("stages/scan_payload", "dlp"),
    ("security/dlp", "dlp"),
    ("stages/check_inbox", "inbox"),
    ("gateway/inboxes", "inbox"),
    ("gateway/ledger", "audit"),
    ("mas_core/audit", "audit"),
    ("gateway/outbound", "seal"),
    ("store/commits", "commit"),
    ("store/partitions", "wire"),
    ("store/lookups", "wire"),
    ("store/stored", "wire"),
    ("store/connection", "wire"),
    ("store/wire", "wire"),
    ("gateway/stages/", "other stages"),
    ("gateway/", "judge"),
)


class StageProfile:
    """Counts samples of the main thread."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self._stage_of: dict[str, str] = {}
        self._cpu = 0.0

    def start(self) -> None:
        """Start counting."""
        self._cpu = time.process_time()
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self) -> None:
        """Stop counting."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._cpu = time.process_time() - self._cpu

    def _take(self, _number: int, frame: FrameType | None) -> None:
        innermost = frame
        while frame is not None:
            name = frame.f_code.co_filename
            stage = self._stage_of.get(name)
            if stage is None:
                stage = self._stage_of[name] = _stage(name)
            if stage:
                break
            frame = frame.f_back
        else:
            stage = "other"
        self.samples[stage] += 1
        if innermost is not None:
            code = innermost.f_code
            self.places[f"{stage}: {code.co_filename.rpartition('mas_core/')[2]}:{code.co_qualname}"] += 1

    def as_json(self) -> str:
        """Samples by stage, the places seen most, and the processor time that they stand for."""
        return json.dumps(
            {"cpu_s": self._cpu, "samples": dict(self.samples), "places": self.places.most_common(60)}
        )


def _stage(path: str) -> str:
    return next((stage for part, stage in _BY_PATH if part in path), "")
