"""Registrations of agents and the status of their instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from mas_core.errors import AgentNotFound, InternalError
from mas_core.model.registration import AgentKey, DecryptionKey, InstanceStatus, Registration
from mas_core.registry.operator_log import OperatorLog
from mas_core.registry.signed import Macs, signed, verified
from mas_core.store.records import Records

REGISTRATION_EXPIRY_MS = 60_000
"""An instance counts as running for this long after its last heartbeat."""

MAX_NAMED = 100
"""Agents that the record of a change names."""

_REGISTRATION = msgspec.json.Decoder(Registration)
_INSTANCE = msgspec.json.Decoder(InstanceStatus)


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """A registered agent and its instances, running or not."""

    registration: Registration
    instances: tuple[InstanceStatus, ...]

    @property
    def agent_id(self) -> str:
        """Id of the agent."""
        return self.registration.agent_id

    def running(self, now: int) -> list[InstanceStatus]:
        """Instances whose heartbeat is fresh at `now` (Unix milliseconds by the server's clock)."""
        return [item for item in self.instances if item.seen + REGISTRATION_EXPIRY_MS > now]

    def capabilities(self, now: int) -> tuple[str, ...]:
        """What the running instances can do, sorted."""
        return tuple(sorted({name for item in self.running(now) for name in item.capabilities}))

    def metadata(self, now: int) -> dict[str, object]:
        """What the instance with the latest heartbeat says about itself."""
        running = self.running(now)
        return max(running, key=lambda item: item.seen).metadata if running else {}


def instance_text(macs: Macs, agent_id: str, status: InstanceStatus) -> bytes:
    """An instance status as it is stored."""
    return signed(macs, f"instance:{agent_id}", msgspec.json.encode(status))


class Registry:
    """Reads and writes registrations; what does not carry the gateway's MAC does not exist.

    `forged` lists ids whose records were ignored because their MAC was wrong.

    Args:
        records: The store's records.
        macs: What records are authenticated with.
        log: Where changes are recorded; whoever has none only reads.
    """

    def __init__(self, records: Records, macs: Macs, log: OperatorLog | None = None) -> None:
        self._log = log
        self._records = records
        self._macs = macs
        self.forged: set[str] = set()

    async def entries(self, agent_ids: Sequence[str] | None = None) -> list[AgentEntry]:
        """All registered agents, or those of `agent_ids` that are registered."""
        names = list(agent_ids) if agent_ids is not None else await self._records.agent_ids()
        hashes = await self._records.agents(names)
        found = (self._entry(name, fields) for name, fields in zip(names, hashes, strict=True))
        return [entry for entry in found if entry is not None]

    async def get(self, agent_id: str) -> AgentEntry:
        """One agent.

        Raises:
            AgentNotFound: It is not registered.
        """
        entries = await self.entries([agent_id])
        if not entries:
            raise AgentNotFound(
                f"Agent not found: {agent_id} is not registered",
                hint=("mas agent list", f"mas agent register {agent_id}"),
                agent=agent_id,
            )
        return entries[0]

    async def put(self, registration: Registration) -> None:
        """Write a registration and make the gateways read it before their next commit."""
        await self.put_many([registration])

    async def put_many(self, registrations: Iterable[Registration]) -> None:
        """Write registrations and make the gateways read them before their next commit."""
        items = list(registrations)
        texts = [(item.agent_id, msgspec.json.encode(item)) for item in items]
        change = {"count": len(items), "agents": [_outline(item) for item in items[:MAX_NAMED]]}
        async with self._recorded().writing("registry", *(name for name, _ in texts), change=change):
            await self._records.put_registrations(
                [(name, text, self._macs.mac(f"registration:{name}", text)) for name, text in texts]
            )
            await self._records.raise_revision()

    async def delete(self, agent_id: str) -> None:
        """Remove a registration; its gateways refuse the agent from their next commit on."""
        await self.delete_many([agent_id])

    async def delete_many(self, agent_ids: Sequence[str]) -> None:
        """Remove registrations; gateways refuse these agents from their next commit on."""
        change = {"removed": list(agent_ids[:MAX_NAMED]), "count": len(agent_ids)}
        async with self._recorded().writing("registry", *agent_ids, change=change):
            await self._records.delete_registrations(agent_ids)
            await self._records.raise_revision()

    def _recorded(self) -> OperatorLog:
        if self._log is None:
            raise InternalError("the registry was opened for reading alone")
        return self._log

    def _entry(self, agent_id: str, fields: dict[str, bytes]) -> AgentEntry | None:
        text, mac = fields.get("record"), fields.get("mac", b"")
        if text is None:
            return None
        if not self._macs.check_mac(f"registration:{agent_id}", text, mac):
            self.forged.add(agent_id)
            return None
        registration = _REGISTRATION.decode(text)
        return AgentEntry(registration, tuple(self.instances(agent_id, fields.items())))

    def instances(self, agent_id: str, fields: Iterable[tuple[str, bytes]]) -> list[InstanceStatus]:
        """The instances in the fields of an agent's hash, oldest first."""
        found = []
        for name, text in fields:
            if name.startswith("instance:"):
                data = verified(self._macs, f"instance:{agent_id}", text)
                if data is None:
                    self.forged.add(agent_id)
                else:
                    found.append(_INSTANCE.decode(data))
        return sorted(found, key=lambda item: (item.started, item.instance))


def _outline(registration: Registration) -> dict[str, object]:
    """What a record says of a registration that was written: its keys by id, never more of them."""
    keys: tuple[AgentKey | DecryptionKey, ...] = (*registration.keys, *registration.decryption_keys)
    facts: dict[str, object] = {
        "agent": registration.agent_id,
        "keys": [key.key_id for key in keys if not key.revoked],
        "revoked": [key.key_id for key in keys if key.revoked],
        "source": registration.source,
    }
    if registration.capabilities is not None:
        facts["capabilities"] = list(registration.capabilities)
    return {name: value for name, value in facts.items() if value}
