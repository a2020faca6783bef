"""Looks for sensitive data and does with it what the policy says."""

from __future__ import annotations

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision, Finding
from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner


class ScanPayload:
    """Blocks, redacts or marks; what cannot be scanned is not let through."""

    name = "dlp"

    def __init__(self, scanner: Scanner, max_payload_bytes: int) -> None:
        self._scanner = scanner
        self._max_payload_bytes = max_payload_bytes

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Blocked, unscannable, or nothing; redaction changes `transit.data`."""
        if transit.envelope.headers and (verdict := self._check_headers(transit.envelope.headers)):
            return verdict
        if transit.is_encrypted:
            return None
        result = self._scanner.scan(transit.value)  # type: ignore[arg-type]
        if result.action == "pass":
            return None
        transit.findings = result.findings
        match result.action:
            case "alert":
                transit.decision = Decision.ALERT
                transit.reason = f"the payload holds {_kinds(result.findings)}"
            case "redact":
                transit.decision = Decision.REDACTED
                transit.reason = f"taken out of the payload: {_kinds(result.findings)}"
                transit.value = result.value
                transit.data = encode_json(result.value)
                if len(transit.data) > self._max_payload_bytes:
                    return Verdict(Decision.UNSCANNABLE, "the payload is too long once it is redacted")
            case "block":
                return _blocked("payload", result.findings)
            case _:
                return Verdict(Decision.UNSCANNABLE, f"the payload cannot be scanned: {result.reason}")
        return None

    def _check_headers(self, headers: dict[str, str]) -> Verdict | None:
        """Headers have no business with sensitive data, so what would be redacted elsewhere blocks here."""
        result = self._scanner.scan(dict(headers))
        if result.action in ("redact", "block"):
            return _blocked("headers", result.findings)
        if result.action == "unscannable":
            return Verdict(Decision.UNSCANNABLE, f"the headers cannot be scanned: {result.reason}")
        return None


def _blocked(what: str, findings: tuple[Finding, ...]) -> Verdict:
    holds = "hold" if what.endswith("s") else "holds"
    return Verdict(
        Decision.BLOCKED,
        f"the {what} {holds} {_kinds(findings)}, which the policy does not let through",
        findings=findings,
    )


def _kinds(findings: tuple[Finding, ...]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings}))
