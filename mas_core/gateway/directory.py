"""What a gateway knows of agents and policy, read again whenever the policy revision moves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, IntegrityError
from mas_core.gateway.policy_compiler import PolicyCompiler
from mas_core.gateway.stages.authorise import Authorise
from mas_core.gateway.stages.cap_priority import CapPriority
from mas_core.gateway.stages.check_blocked import CheckBlocked
from mas_core.gateway.stages.check_encryption import CheckEncryption
from mas_core.gateway.stages.check_expiry import CheckExpiry
from mas_core.gateway.stages.check_form import CheckForm
from mas_core.gateway.stages.check_permit import CheckPermit
from mas_core.gateway.stages.check_signature import CheckSignature
from mas_core.gateway.stages.check_standing import CheckStanding
from mas_core.gateway.stages.compare_shadow import CompareShadow
from mas_core.gateway.stages.find_target import FindTarget
from mas_core.gateway.stages.limit_rate import LimitRate
from mas_core.gateway.stages.scan_payload import ScanPayload
from mas_core.gateway.transit import Stage
from mas_core.model.frame import Frame
from mas_core.model.message import Delivery
from mas_core.model.policy import PolicyDocument
from mas_core.model.registration import AgentKey, Registration
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.roster import Roster
from mas_core.security.access import AccessPolicy
from mas_core.security.claims import Claims
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.inbox_frames import open_inbox_frame
from mas_core.security.rate_limits import RateLimits
from mas_core.security.routing import Routing
from mas_core.security.seals import SealKey
from mas_core.store.records import Records

log = get_logger(__name__)


class Directory:
    """Registrations, policy, and the stages compiled from them.

    A policy or a registration that does not carry the gateway's MAC is ignored with an alarm; a broken policy
    leaves the last good one in force, or if only its scan is broken the last good scan, and with no policy
    nothing is allowed.
    """

    def __init__(
        self,
        records: Records,
        keys: GatewayKeys,
        namespace: str,
        compiler: PolicyCompiler,
        max_payload_bytes: int,
        roster: Roster,
    ) -> None:
        self._keys = keys
        self.namespace = namespace
        """Of the system."""
        self._registrations = roster.registrations
        self.roster = roster
        """The registered agents; all partitions of a gateway share it."""
        self._policy_record = PolicyRecord(records, keys)
        self._compiler = compiler
        self.max_payload_bytes = max_payload_bytes
        """Longest payload that is delivered."""
        self._reported: set[str] = set()
        self.alarms: list[str] = []
        """What is wrong with policy and registrations, in words."""
        self.policy = PolicyDocument()
        self.access = AccessPolicy(self.policy)
        self.limits = RateLimits(self.policy)
        self.claims = Claims(self.policy)
        self.routing = Routing(self.policy)
        self._scan_problem = ""
        self.stages: tuple[Stage, ...] = ()
        """Stages up to the scan; the owner of a partition adds the one that needs its inboxes."""

    async def refresh(self) -> None:
        """Read policy and registrations again.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        try:
            policy = await self._policy_record.load()
            self.alarms = []
        except IntegrityError as error:
            log.error("policy.ignored", reason=error.message)
            policy = self.policy
            self.alarms = [f"{error.message}: {self._last_good()}"]
        if policy is None:
            log.error("policy.missing", effect="nothing is allowed")
            policy = PolicyDocument()
            self.alarms = ["there is no policy: nothing is allowed"]
        elif policy.revision < self.policy.revision:
            # Whoever can write to the server can put back what we signed once.
            log.error("policy.ignored", reason="older than the one in force", revision=policy.revision)
            told = f"the stored policy is older, revision {policy.revision}: {self._last_good()}"
            policy, self.alarms = self.policy, [told]
        await self.roster.refresh()
        for agent_id in self.roster.forged - self._reported:
            log.error("registration.ignored", agent=agent_id, reason="it does not carry the gateway's MAC")
        self._reported |= self.roster.forged
        if self.roster.forged:
            names = ", ".join(sorted(self.roster.forged)[:5])
            self.alarms.append(f"records that are not ours are ignored: {names}")
        try:
            self._compile(policy)
        except ConfigurationError as error:
            log.error("policy.ignored", reason=error.message)
            self.alarms.append(f"the policy cannot be used: {error.message}: {self._last_good()}")
            self._compile(self.policy)
        if self._scan_problem:
            log.error("policy.scan_ignored", reason=self._scan_problem)
            self.alarms.append(f"payloads are scanned as before: {self._scan_problem}")

    def _compile(self, policy: PolicyDocument) -> None:
        if policy != self.policy or not self.stages:
            compiled = self._compiler.compile(policy)
            access = compiled.access
            stages: list[Stage] = []
            if policy.features.message_signing:
                stages.append(CheckSignature(self, self.namespace, policy.signature_max_age_s))
            stages += [
                CheckForm(self.max_payload_bytes),
                CheckExpiry(),
                *([CheckStanding(policy.standings)] if policy.standings else []),
                *([CheckBlocked(access)] if policy.blocked else []),
                FindTarget(self),
                CheckPermit(self._keys),
            ]
            if compiled.shadow is not None:
                stages.append(CompareShadow(access, compiled.shadow))
            if policy.features.rbac:
                stages.append(Authorise(access, intersects=policy.features.delegation_intersect))
            if policy.features.rate_limit:
                stages.append(LimitRate())
            stages.append(
                CheckEncryption(
                    self,
                    compiled.routes,
                    policy.e2e_suites,
                    is_scanned=policy.features.dlp,
                    may_be_required=any(route.e2e == "require" for route in policy.routes),
                )
            )
            if compiled.scanner is not None:
                stages.append(ScanPayload(compiled.scanner, compiled.routes, self.max_payload_bytes))
            if compiled.limits.has_ceilings:
                stages.append(CapPriority(compiled.limits))
            self.access = access
            self.limits = compiled.limits
            self.claims = compiled.claims
            self.routing = compiled.routing
            self.policy = policy
            self._scan_problem = compiled.problem
            self.stages = tuple(stages)

    def _last_good(self) -> str:
        if self.policy.revision:
            return f"the last good one, revision {self.policy.revision}, stays in force"
        return "nothing is allowed"

    def is_registered(self, agent_id: str) -> bool:
        """Whether there is such an agent."""
        return agent_id in self._registrations

    def has_key(self, agent_id: str) -> bool:
        """Whether it is registered with a key that is not revoked."""
        registration = self._registrations.get(agent_id)
        return registration is not None and any(not key.revoked for key in registration.keys)

    def registration(self, agent_id: str) -> Registration | None:
        """The registration of an agent."""
        return self._registrations.get(agent_id)

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """One key of an agent, valid or not."""
        registration = self._registrations.get(agent_id)
        if registration is None:
            return None
        return next((key for key in registration.keys if key.key_id == key_id), None)

    def seal_key(self, agent_id: str, key: AgentKey, *, session: str, to_gateway: bool) -> SealKey:
        """The key that this gateway shares with one agent key for one session."""
        return SealKey(
            self._keys.seal_key,
            X25519PublicKey.from_public_bytes(bytes.fromhex(key.seal_key)),
            session=session,
            namespace=self.namespace,
            to_gateway=to_gateway,
            agent=agent_id,
            agent_key_id=key.key_id,
            gateway_key_id=self._keys.key_id,
        )

    def open_delivered(self, agent_id: str, lane: str, frame: Frame) -> list[Delivery]:
        """The messages of a frame in the inbox of an agent.

        Raises:
            DecryptionFailed: No gateway put it there, or its key is not known any more.
        """
        registration = self._registrations.get(agent_id)
        return open_inbox_frame(self._keys, self.namespace, registration, lane, frame)

    def can_decrypt(self, agent_id: str, key_ids: Collection[str], now: int) -> bool:
        """Whether one of these keys is a key of the agent that counts."""
        registration = self._registrations.get(agent_id)
        return registration is not None and any(
            key.key_id in key_ids and key.is_valid(now)
            for keys in (registration.keys, registration.decryption_keys)
            for key in keys
        )

    def may_claim(self, agent_id: str, capability: str) -> bool:
        """Whether registration and policy let an agent claim a capability."""
        registration = self._registrations.get(agent_id)
        permitted = registration.capabilities if registration is not None else ()
        is_permitted = permitted is None or capability in permitted
        return is_permitted and not self.claims.refused(agent_id, (capability,))

    def valid_keys(self, agent_id: str, now: int) -> Sequence[AgentKey]:
        """The keys of an agent that count at `now`, newest first."""
        registration = self._registrations.get(agent_id)
        return [key for key in registration.keys if key.is_valid(now)] if registration else []
