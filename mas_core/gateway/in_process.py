"""A gateway inside the process that uses it: for `memory://`, for tests and for small programs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import msgspec

from mas_core.base.clock import now_ms
from mas_core.base.ids import check_agent_id
from mas_core.base.resources import KINDS
from mas_core.errors import SecretUnavailable
from mas_core.gateway.service import Gateway
from mas_core.model.policy import ANYONE, PolicyDocument, Rule
from mas_core.model.registration import Registration
from mas_core.registry.operator_log import OperatorLog, owner_of, this_operator
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.registry import Registry
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.tokens import agent_key, derive_keys, new_token
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.store.store import Store

OPEN_RULES = tuple(
    Rule(f"r{number}", "allow", ANYONE, target, source="api", reason="memory:// is one process")
    for number, target in enumerate((ANYONE, *(f"{kind}:>" for kind in KINDS)), 1)
)


class InProcessGateway:
    """A gateway with its store and keys; it registers the agents of this process itself.

    Args:
        store: The system to serve; closed with the gateway.
        keys: The gateway's keys.
        settings: Limits and switches; where no policy is stored yet they become the first one.
        payload_keys: Folder of the keys that seal copies of payloads, where the policy keeps any.
    """

    _in_memory: ClassVar[dict[str, InProcessGateway]] = {}

    def __init__(
        self,
        store: Store,
        keys: GatewayKeys,
        settings: GatewaySettings | None = None,
        *,
        payload_keys: Path | None = None,
    ) -> None:
        self.store = store
        self.keys = keys
        self.settings = settings or GatewaySettings()
        self.operator_log = OperatorLog(store.records, owner_of(keys), this_operator())
        self.registry = Registry(store.records, keys, self.operator_log)
        self.policy = PolicyRecord(store.records, keys, self.operator_log)
        self.gateway = Gateway(store, keys, self.settings, payload_keys=payload_keys)
        self._tokens: dict[str, str] = {}
        self._is_started = False

    @classmethod
    async def in_memory(cls, url: str) -> InProcessGateway:
        """The running gateway of a `memory://` URL, started on first use; everybody may talk to everybody."""
        found = cls._in_memory.get(url)
        if found is None or not found.gateway.is_running:
            # What an earlier event loop left in the store is under the keys of its gateway.
            before, found = found, cls(Store(url), found.keys if found else GatewayKeys.generate())
            if before is not None:
                found._tokens = before._tokens  # noqa: SLF001 - private to the class, not to one of its objects
            cls._in_memory[url] = found
            await found.start()
            await found.policy.change(lambda document: document if document.rules else _open(document))
        return found

    async def start(self) -> None:
        """Start; returns when messages are taken.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        if self._is_started:
            return
        self._is_started = True
        await self.store.layouts.follow()
        if await self.policy.load() is None:
            await self.policy.change(self._first_policy)
        await self.gateway.start()

    async def stop(self) -> None:
        """Finish what is in hand and close."""
        if not self._is_started:
            return
        self._is_started = False
        await self.gateway.stop()
        await self.store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def admit(self, agent_id: str) -> str:
        """The token of an agent, which is registered for it when it is new here.

        Raises:
            SecretUnavailable: The agent was registered elsewhere, so its token is not known here.
        """
        check_agent_id(agent_id)
        token = self._tokens.get(agent_id)
        if token is None:
            if await self.registry.entries([agent_id]):
                raise SecretUnavailable(
                    f"{agent_id} was registered elsewhere; its token is needed",
                    hint=f"Agent('{agent_id}', token=...)",
                )
            token = new_token(self.keys.public_key)
            now = now_ms()
            key = agent_key(derive_keys(token, agent_id), created=now)
            await self.registry.put(Registration(agent_id, (key,), created=now, source="api"))
            self._tokens[agent_id] = token
        return token

    def _first_policy(self, document: PolicyDocument) -> PolicyDocument:
        return msgspec.structs.replace(
            document,
            default_limit=self.settings.default_limit,
            features=self.settings.policy_features,
            signature_max_age_s=self.settings.message_signing.max_age_s,
            default_breaker=self.settings.circuit_breaker.as_breaker_limits(),
            change="start with the settings of the gateway",
        )


def _open(document: PolicyDocument) -> PolicyDocument:
    return msgspec.structs.replace(document, rules=OPEN_RULES, change="open memory:// to everybody")
