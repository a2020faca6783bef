"""`GatewayService`: a gateway as an object of a Python program, with its rules and its audit at hand."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mas_core.agent.client import Client
from mas_core.audit.export import export
from mas_core.audit.payload_keys import FOLDER_NAME
from mas_core.errors import MasError, SecretUnavailable
from mas_core.gateway.in_process import InProcessGateway
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision, Receipt
from mas_core.model.message import AgentMessage
from mas_core.ops.audit_filter import EVERYTHING, AuditFilter
from mas_core.ops.audit_questions import noted
from mas_core.ops.audit_sources import PartitionSource, Reading, evidence_folder, log_warning, merged
from mas_core.ops.auth_manager import AuthManager
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.project import find_project
from mas_core.settings.secrets import filled
from mas_core.settings.target import Target
from mas_core.store.store import Store

DEFAULT_URL = "redis://localhost:6379"


class GatewayService(InProcessGateway):
    """A gateway in this process. `async with GatewayService(settings) as gateway:` starts and stops it.

    Args:
        settings: Limits, switches and the server (`redis.url`); from `GATEWAY_*` variables when left out.
        redis_url: The server, in place of the one in `settings`. `memory://` needs none.
        keys_dir: Folder of the gateway's keys; the project's when left out. `memory://` needs none.
    """

    def __init__(
        self,
        settings: GatewaySettings | None = None,
        *,
        redis_url: str | None = None,
        keys_dir: Path | None = None,
        namespace: str = "mas",
        partitions: int = 1,
    ) -> None:
        settings = settings or GatewaySettings()
        url = filled(redis_url or settings.redis.url or DEFAULT_URL, Path.cwd())
        store = Store(url, namespace=namespace, partitions=partitions)
        payload_keys = keys_dir / FOLDER_NAME if keys_dir is not None else None
        super().__init__(store, _keys_for(url, keys_dir), settings, payload_keys=payload_keys)
        self.auth_manager = AuthManager(self.policy)
        self.audit = AuditLog(self, _place_of(url, keys_dir))

    async def handle_message(self, message: AgentMessage, token: str) -> Receipt:
        """Pass a message through the gateway on behalf of its sender; never raises for a refusal.

        Args:
            message: What to send; its `sender_id` must be the agent that the token belongs to.
            token: The sender's token.

        Returns:
            The receipt: decision, reason, findings.
        """
        try:
            async with Client(self.store, message.sender_id, token) as client:
                return await client.send(
                    message.target_id,
                    message.message_type,
                    message.data,
                    priority=message.priority,
                    message_id=message.message_id,
                    headers=message.headers or None,
                )
        except MasError as error:
            found = error.details.get("decision")
            decision = Decision(str(found)) if found else Decision.UNAUTHENTICATED
            return Receipt(message.message_id, decision, error.message, hint=error.hint)


class AuditLog:
    """The audit of a gateway's system, newest first: from the evidence folder as far as it goes, else the store.

    Args:
        gateway: The gateway.
        target: Where its keys and its evidence are, if they are on this machine.
    """

    def __init__(self, gateway: InProcessGateway, target: Target | None = None) -> None:
        self._gateway = gateway
        self._target = target
        self.operator_log = gateway.operator_log

    @noted("audit.query_by_sender")
    async def query_by_sender(
        self, sender_id: str, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """The newest `count` records of one sender, 0 for all; times in Unix seconds."""
        return await self._query(AuditFilter(sender=sender_id), start_time, end_time, count)

    @noted("audit.query_by_target")
    async def query_by_target(
        self, target_id: str, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """The newest `count` records of one target, 0 for all; times in Unix seconds."""
        return await self._query(AuditFilter(target=target_id), start_time, end_time, count)

    @noted("audit.query_all")
    async def query_all(
        self, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """The newest `count` records of everybody, 0 for all; times in Unix seconds."""
        return await self._query(EVERYTHING, start_time, end_time, count)

    @noted("audit.report")
    async def export_compliance_report(
        self,
        start_time: float = 0,
        end_time: float = 0,
        format: Literal["csv", "json", "jsonl"] = "csv",  # noqa: A002 - reads well at the call
    ) -> str:
        """All records of a span as text, oldest first; times in Unix seconds."""
        records = await self._query(EVERYTHING, start_time, end_time, 0)
        return b"".join(export(reversed(records), format)).decode()

    async def _query(
        self, wanted: AuditFilter, start_time: float, end_time: float, count: int
    ) -> list[AuditRecord]:
        wanted = replace(wanted, since=int(start_time * 1000), until=int(end_time * 1000))
        folder = evidence_folder(self._target) if self._target else None
        store = self._gateway.store
        sources = [PartitionSource(store, folder, partition, log_warning) for partition in range(store.width)]
        found: list[AuditRecord] = []
        async with aclosing(merged(sources, wanted, Reading(newest_first=True))) as records:
            async for item in records:
                found.append(item.record)
                if count and len(found) == count:
                    break
        return found


def _place_of(url: str, keys_dir: Path | None) -> Target | None:
    if keys_dir is not None:
        return Target(url, keys_dir=keys_dir)
    project = None if url.startswith("memory:") else find_project()
    return Target(url, project=project) if project else None


def _keys_for(url: str, keys_dir: Path | None) -> GatewayKeys:
    if keys_dir is not None:
        return GatewayKeys.load_or_create(keys_dir)
    if url.startswith("memory:"):
        return GatewayKeys.generate()
    project = find_project()
    if project is None:
        raise SecretUnavailable(
            "a gateway on a server needs a folder for its keys",
            hint=("GatewayService(keys_dir=...)", "mas init DIR"),
        )
    return GatewayKeys.load_or_create(project.keys_dir)
