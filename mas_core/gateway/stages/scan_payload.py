"""Looks for sensitive data and does with it what the policy says."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision, Finding
from mas_core.model.json_text import encode_json
from mas_core.model.trace_context import TRACE_PARENT, is_trace_parent
from mas_core.security.dlp import Scanner
from mas_core.security.routes import Routes


class ScanPayload:
    """Blocks, redacts or marks; what cannot be scanned is not let through.

    Args:
        scanner: Finds sensitive data, for the gateway's policy.
        routes: What is different for some senders and targets.
        max_payload_bytes: Longest payload that is delivered.
    """

    name = "dlp"

    def __init__(self, scanner: Scanner, routes: Routes, max_payload_bytes: int) -> None:
        self._scanner = scanner
        self._routes = routes
        self._max_payload_bytes = max_payload_bytes

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that go on; what is clean at first sight, which most are, costs one look at all of them."""
        suspects = self._scanner.suspects([transit.data for transit in transits])
        closer = {
            index
            for index, transit in enumerate(transits)
            if transit.is_encrypted or (transit.envelope.headers and _scanned(transit.envelope.headers))
        }.union(suspects)
        if not closer:
            return transits
        stopped = {index for index in closer if not one_by_one(self, (transits[index],), batch)}
        return [transit for index, transit in enumerate(transits) if index not in stopped]

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Blocked, unscannable, or nothing; redaction changes `transit.data`."""
        headers = transit.envelope.headers
        if headers and (verdict := self._check_headers(_scanned(headers))):
            return verdict
        if transit.is_encrypted or not self._scanner.suspects((transit.data,)):
            return None
        envelope = transit.envelope
        route = self._routes.find(transit.sender, envelope.target, envelope.type).dlp
        result = self._scanner.scan(transit.value, route)  # type: ignore[arg-type]
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
        if not headers or not self._scanner.suspects((encode_json(headers),)):
            return None
        result = self._scanner.scan(dict(headers))
        if result.action in ("redact", "block"):
            return _blocked("headers", result.findings)
        if result.action == "unscannable":
            return Verdict(Decision.UNSCANNABLE, f"the headers cannot be scanned: {result.reason}")
        return None


def _scanned(headers: dict[str, str]) -> dict[str, str]:
    """All but a trace context: made by chance, one in a few thousand has the digits of a card in it."""
    if not is_trace_parent(headers.get(TRACE_PARENT, "")):
        return headers
    return {name: value for name, value in headers.items() if name != TRACE_PARENT}


def _blocked(what: str, findings: tuple[Finding, ...]) -> Verdict:
    holds = "hold" if what.endswith("s") else "holds"
    return Verdict(
        Decision.BLOCKED,
        f"the {what} {holds} {_kinds(findings)}, which the policy does not let through",
        findings=findings,
    )


def _kinds(findings: tuple[Finding, ...]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings}))
