"""Looks for sensitive data and does with it what the policy says."""

from __future__ import annotations

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner


class ScanPayload:
    """Blocks, redacts or marks; what cannot be scanned is not let through."""

    name = "dlp"

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Blocked, unscannable, or nothing; redaction changes `transit.data`."""
        result = self._scanner.scan(transit.value)  # type: ignore[arg-type]
        if result.action == "pass":
            return None
        transit.findings = result.findings
        kinds = ", ".join(sorted({finding.rule for finding in result.findings}))
        match result.action:
            case "alert":
                transit.decision = Decision.ALERT
                transit.reason = f"the payload holds {kinds}"
            case "redact":
                transit.decision = Decision.REDACTED
                transit.reason = f"taken out of the payload: {kinds}"
                transit.value = result.value
                transit.data = encode_json(result.value)
            case "block":
                return Verdict(
                    Decision.BLOCKED,
                    f"the payload holds {kinds}, which the policy does not let through",
                    findings=result.findings,
                )
            case _:
                return Verdict(Decision.UNSCANNABLE, f"the payload cannot be scanned: {result.reason}")
        return None
