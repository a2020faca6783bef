"""Who may talk to the server: agents of this system, by the one SPIFFE ID in their certificate.

Registrations and revocations are followed, so a conversation that was admitted ends within a second when its agent
is deleted, its last token revoked, or its certificate revoked or over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import (
    AgentNotFound,
    CertificateRefused,
    IntegrityError,
    MasError,
    StoreUnreachable,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    Unauthenticated,
)
from mas_core.model.policy import PolicyDocument
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.roster import Roster
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.bearer_tokens import read_bearer
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.spiffe import agent_of, check_in_force, read_certificate, serial_of
from mas_core.store.store import Store

log = get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
TRUSTED_FOR_S: Final = 5.0
"""How long what was read last counts while the store does not answer; then nobody new is admitted."""


@dataclass(eq=False, slots=True)
class Caller:
    """Somebody who was admitted."""

    agent_id: str
    peer: str
    """The address that it comes from."""
    certificate: x509.Certificate | None
    """None for whoever has shown a bearer token instead."""
    ends: float
    """When what it has shown is over, in Unix seconds."""
    bearer_id: str = ""
    """Of the bearer token that it has shown."""
    end: Callable[[MasError], None] = field(default=lambda _reason: None)
    """Called when it may stay no longer."""


class Admission:
    """Admits callers and keeps looking at those who are there.

    Args:
        store: The system's.
        keys: Vouch for registrations and policy.
        trust_domain: The only one that identities are taken from.
        notices: Where refusals are recorded.
    """

    def __init__(self, store: Store, keys: GatewayKeys, trust_domain: str, notices: SecurityNotices) -> None:
        self._store = store
        self._keys = keys
        self._trust_domain = trust_domain
        self._notices = notices
        self._policy_record = PolicyRecord(store.records, keys)
        self._policy = PolicyDocument()
        self._layout = store.keys.layout
        self._roster = self._new_roster()
        self._read_at = 0.0
        self._refreshing = asyncio.Lock()
        self._callers: set[Caller] = set()
        self._following: asyncio.Task[None] | None = None
        self.refused = 0
        """How many were not let in, or had to leave."""

    @property
    def connected(self) -> list[str]:
        """Ids of the agents that are there, once for each of their conversations."""
        return [caller.agent_id for caller in self._callers]

    async def start(self) -> None:
        """Read who there is.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        await self._refresh()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
            self._following = None

    async def admit_certificate(self, pem: bytes, peer: str) -> Caller:
        """Admit whoever has shown a certificate that TLS has verified.

        Args:
            pem: The certificate.
            peer: The address that it comes from.

        Raises:
            CertificateRefused: It speaks for no agent, or counts no more; the refusal is recorded.
            AgentNotFound, TokenRevoked: It is no agent of this system, or none any more; recorded as well.
            StoreUnreachable: Nobody knows who may come in.
        """
        facts: dict[str, object] = {"peer": peer}
        agent_id = ""
        try:
            certificate = read_certificate(pem)
            facts["serial"] = serial_of(certificate)
            agent_id = agent_of(certificate, trust_domain=self._trust_domain)
            caller = Caller(agent_id, peer, certificate, certificate.not_valid_after_utc.timestamp())
            await self._check_anew(caller)
        except (CertificateRefused, AgentNotFound, TokenRevoked) as error:
            self.refused += 1
            facts["reason"] = error.details.get("reason", error.code)
            log.warning("certificate.refused", peer=peer, agent=agent_id, reason=error.message)
            await self._notices.record("certificate.refused", agent_id or peer, facts, reason=error.message)
            raise
        return caller

    async def admit_bearer(self, text: str, pem: bytes | None, peer: str) -> Caller:
        """Admit whoever has shown a bearer token.

        Args:
            text: The token.
            pem: A certificate beside it, which has to be the same agent's.
            peer: The address that it comes from.

        Raises:
            TokenInvalid, TokenExpired: It is none of this system, or has ended; the refusal is recorded.
            AgentNotFound, TokenRevoked, CertificateRefused: As for certificates.
            StoreUnreachable: Nobody knows who may come in.
        """
        facts: dict[str, object] = {"peer": peer}
        agent_id = ""
        try:
            now_ms = int(time.time() * 1000)
            token = read_bearer(self._keys, text, self._store.namespace, now_ms=now_ms)
            agent_id, facts["bearer"] = token.agent, token.id
            certificate = None if pem is None else read_certificate(pem)
            if certificate is not None and agent_of(certificate, trust_domain=self._trust_domain) != agent_id:
                raise TokenInvalid("Authentication failed: the certificate is another agent's than the token")
            caller = Caller(agent_id, peer, certificate, token.ends / 1000, token.id)
            await self._check_anew(caller)
        except (Unauthenticated, AgentNotFound) as error:
            self.refused += 1
            facts["reason"] = error.details.get("reason", error.code)
            log.warning("bearer.refused", peer=peer, agent=agent_id, reason=error.message)
            await self._notices.record("bearer.refused", agent_id or peer, facts, reason=error.message)
            raise
        return caller

    def enter(self, caller: Caller, end: Callable[[MasError], None]) -> None:
        """Somebody who was admitted is there; `end` is called when it may stay no longer."""
        caller.end = end
        self._callers.add(caller)

    def leave(self, caller: Caller) -> None:
        """Somebody has gone."""
        self._callers.discard(caller)

    def count(self, agent_id: str) -> int:
        """How often an agent is there."""
        return sum(caller.agent_id == agent_id for caller in self._callers)

    async def _check_anew(self, caller: Caller) -> None:
        """Check somebody; whoever is refused may have been registered a moment ago."""
        try:
            self._check(caller)
        except (AgentNotFound, TokenRevoked):
            asked_at = time.monotonic()
            async with self._refreshing:
                # All who waited for the same reading share it.
                if self._read_at < asked_at:
                    await self._refresh()
            self._check(caller)

    def _check(self, caller: Caller) -> None:
        if time.monotonic() - self._read_at > TRUSTED_FOR_S:
            raise StoreUnreachable("the server does not know at this moment who may come in")
        registration = self._roster.registrations.get(caller.agent_id)
        if registration is None:
            raise AgentNotFound(
                f"Agent not found: {caller.agent_id} is not registered",
                hint=f"mas agent register {caller.agent_id}",
            )
        now = time.time()
        if not any(key.is_valid(int(now * 1000)) for key in registration.keys):
            raise TokenRevoked(f"Authentication failed: {caller.agent_id} has no token that counts")
        if caller.bearer_id and now >= caller.ends:
            raise TokenExpired(f"Authentication failed: the bearer token of {caller.agent_id} has ended")
        if caller.bearer_id in self._policy.revoked_certificates:
            raise TokenRevoked(f"Authentication failed: the bearer token {caller.bearer_id} was revoked")
        if caller.certificate is not None:
            check_in_force(
                caller.certificate,
                now=datetime.fromtimestamp(now, UTC),
                revoked=self._policy.revoked_certificates,
            )

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except MasError as error:
                log.warning("admission.stale", reason=error.message)
            except Exception as error:  # noqa: BLE001 - whoever may stay no longer would stay
                log.error("admission.failed", trace=trace_of(error))

    async def _look(self) -> None:
        """Send away whoever may stay no longer."""
        async with self._refreshing:
            await self._refresh()
        for caller in list(self._callers):
            try:
                self._check(caller)
            except MasError as error:
                await self._expel(caller, error)

    async def _expel(self, caller: Caller, error: MasError) -> None:
        self.leave(caller)
        self.refused += 1
        log.warning("agent.expelled", agent=caller.agent_id, peer=caller.peer, reason=error.message)
        facts = {"peer": caller.peer, "reason": error.details.get("reason", error.code)}
        caller.end(error)
        await self._notices.record("agent.expelled", caller.agent_id, facts, reason=error.message)

    async def _refresh(self) -> None:
        began_at = time.monotonic()
        await self._store.layouts.follow()
        if self._store.keys.layout != self._layout:
            self._layout = self._store.keys.layout
            self._roster = self._new_roster()
        try:
            policy = await self._policy_record.load()
        except IntegrityError as error:
            # What nobody vouches for is not there; the last good one goes on.
            log.error("policy.ignored", reason=error.message)
            policy = None
        if policy is not None and policy.revision >= self._policy.revision:
            self._policy = policy
        await self._roster.refresh()
        self._read_at = began_at

    def _new_roster(self) -> Roster:
        return Roster(self._store.records, self._keys, self._layout.partitions, self._layout.width)
