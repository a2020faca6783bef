"""Makes of a policy document what the stages ask, once for all partitions of a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mas_core.errors import ConfigurationError
from mas_core.model.policy import PolicyDocument
from mas_core.security.access import AccessPolicy
from mas_core.security.claims import Claims
from mas_core.security.dlp import RulePack, Scanner
from mas_core.security.dlp.detectors import Detector
from mas_core.security.rate_limits import RateLimits
from mas_core.security.routes import Routes
from mas_core.security.routing import Routing


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """One document with everything that is worked out from it; partitions share it."""

    document: PolicyDocument
    access: AccessPolicy
    shadow: AccessPolicy | None
    limits: RateLimits
    claims: Claims
    routes: Routes
    routing: Routing
    scanner: Scanner | None
    """None while the scan is off."""
    problem: str = ""
    """Why what the document says of the scan cannot be used; the scan is then the one of the policy before."""


class PolicyCompiler:
    """Keeps the newest policy, and its scanner for as long as no change is about the scan.

    Putting a scanner together costs more than all the rest, and hardly a change concerns it.
    One that cannot be put together takes the one before, so that nothing else of the policy is held up by it:
    who was blocked stays blocked.

    Args:
        pack: The rules of the scan.
        detectors: What looks beside the rules.
    """

    def __init__(self, pack: RulePack, detectors: Sequence[Detector] = ()) -> None:
        self._pack = pack
        self._detectors = detectors
        self._newest: CompiledPolicy | None = None
        self._scanner: Scanner | None = None
        self._scanned_by: object = None

    def compile(self, document: PolicyDocument) -> CompiledPolicy:
        """The document, compiled.

        Raises:
            ConfigurationError: It cannot be.
        """
        if self._newest is None or self._newest.document != document:
            scanner, problem = self._scanning(document) if document.features.dlp else (None, "")
            self._newest = CompiledPolicy(
                document,
                AccessPolicy(document),
                None if document.shadow is None else AccessPolicy(document.shadow),
                RateLimits(document),
                Claims(document),
                Routes(document),
                Routing(document),
                scanner,
                problem,
            )
        return self._newest

    def _scanning(self, document: PolicyDocument) -> tuple[Scanner, str]:
        try:
            return self._scanner_of(document), ""
        except ConfigurationError as error:
            if self._scanner is None:
                raise
            return self._scanner, error.message

    def _scanner_of(self, document: PolicyDocument) -> Scanner:
        exceptions = [route.dlp for route in document.routes]
        wanted = (document.dlp_actions, document.dlp_keys, exceptions)
        if self._scanner is None or self._scanned_by != wanted:
            self._scanner = Scanner(
                self._pack,
                document.dlp_actions,
                keys=document.dlp_keys,
                routes=exceptions,
                detectors=self._detectors,
            )
            self._scanned_by = wanted
        return self._scanner
