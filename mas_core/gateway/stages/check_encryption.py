"""Lets end-to-end encrypted payloads pass where the policy wants them, and nowhere else.

What is encrypted cannot be scanned, so where payloads are scanned encryption is forbidden unless a route says
otherwise. The shape decides whether a payload counts as encrypted; any other text that nobody can read is
ordinary content and is scanned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, cast

from mas_core.errors import InvalidPayload
from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.encrypted_payload import E2E_FORBIDDEN, E2E_KEY, E2E_REQUIRED, MARK, read_encrypted
from mas_core.security.routes import Routes


class DecryptionKeys(Protocol):
    """Knows the public keys of agents."""

    def can_decrypt(self, agent_id: str, key_ids: Collection[str], now: int) -> bool:
        """Whether one of these keys is a key of the agent that counts."""


class CheckEncryption:
    """The route says whether it may, must or must not be encrypted; the reply goes like the request."""

    name = "encryption"

    def __init__(
        self,
        keys: DecryptionKeys,
        routes: Routes,
        suites: Collection[str],
        *,
        is_scanned: bool,
        may_be_required: bool,
    ) -> None:
        self._keys = keys
        self._routes = routes
        self._suites = frozenset(suites)
        self._default = "forbid" if is_scanned else "allow"
        self._may_be_required = may_be_required

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that go on; where nothing is encrypted and nothing has to be, that is found out at once."""
        if not self._may_be_required and not any(
            MARK in transit.value or transit.capsule is not None  # type: ignore[operator]
            for transit in transits
        ):
            return transits
        return one_by_one(self, transits, batch)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, invalid, or nothing; `transit.is_encrypted` tells the scanner."""
        if MARK in cast("dict[str, object]", transit.value):
            return self._check_encrypted(transit)
        if transit.capsule is not None and transit.capsule.is_encrypted:
            return _required("the request was encrypted, so the reply must be too")
        if self._may_be_required and self._mode(transit) == "require":
            return _required("on this route payloads must be end-to-end encrypted")
        return None

    def _check_encrypted(self, transit: Transit) -> Verdict | None:
        is_answer = transit.capsule is not None and transit.capsule.is_encrypted
        if not is_answer and self._mode(transit) == "forbid":
            return Verdict(
                Decision.DENIED,
                "Authorization denied: the payload is end-to-end encrypted, and on this route it must be readable",
                E2E_FORBIDDEN,
                hint=("send it without encryption, or give the route e2e: allow in policy.yaml",),
            )
        try:
            payload = read_encrypted(cast("dict[str, object]", transit.value))
        except InvalidPayload as error:
            return Verdict(Decision.INVALID, error.message)
        if payload.suite not in self._suites:
            return Verdict(
                Decision.DENIED,
                "Authorization denied: the policy does not let this kind of encryption through",
                "e2e_suite",
            )
        target = transit.envelope.target
        if not self._keys.can_decrypt(target, payload.keys, transit.now):
            return Verdict(
                Decision.DENIED,
                f"Authorization denied: the payload is encrypted for no key of {target} that counts",
                E2E_KEY,
                hint=(f"mas key list {target}",),
            )
        transit.is_encrypted = True
        encryption = {"suite": payload.suite, "keys": sorted(payload.keys), "scanned": False}
        transit.details = {**(transit.details or {}), "encryption": encryption}
        return None

    def _mode(self, transit: Transit) -> str:
        envelope = transit.envelope
        return self._routes.find(transit.sender, envelope.target, envelope.type).e2e or self._default


def _required(what: str) -> Verdict:
    return Verdict(
        Decision.DENIED,
        f"Authorization denied: {what}",
        E2E_REQUIRED,
        hint=("send(..., encrypt=True) or mas send --encrypt",),
    )
