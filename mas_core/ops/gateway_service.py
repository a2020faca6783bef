"""`GatewayService`: a gateway as an object of a Python program, with its rules and its audit at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import msgspec

from mas_core.agent.client import Client
from mas_core.audit.chain import decode_record
from mas_core.audit.export import export
from mas_core.audit.payload_keys import FOLDER_NAME
from mas_core.errors import MasError, SecretUnavailable
from mas_core.gateway.in_process import InProcessGateway
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision, Receipt
from mas_core.model.message import AgentMessage
from mas_core.ops.audit_questions import noted
from mas_core.ops.auth_manager import AuthManager
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.project import find_project
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
        url = redis_url or settings.redis.url or DEFAULT_URL
        store = Store(url, namespace=namespace, partitions=partitions)
        payload_keys = keys_dir / FOLDER_NAME if keys_dir is not None else None
        super().__init__(store, _keys_for(url, keys_dir), settings, payload_keys=payload_keys)
        self.auth_manager = AuthManager(self.policy)
        self.audit = AuditLog(self)

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
    """The audit of a gateway's system, newest first."""

    def __init__(self, gateway: InProcessGateway) -> None:
        self._gateway = gateway
        self.operator_log = gateway.operator_log

    @noted("audit.query_by_sender")
    async def query_by_sender(
        self, sender_id: str, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """Records of one sender; times in Unix seconds."""
        return await self._query(lambda record: record.sender == sender_id, start_time, end_time, count)

    @noted("audit.query_by_target")
    async def query_by_target(
        self, target_id: str, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """Records of one target; times in Unix seconds."""
        return await self._query(lambda record: record.target == target_id, start_time, end_time, count)

    @noted("audit.query_all")
    async def query_all(
        self, start_time: float = 0, end_time: float = 0, count: int = 1000
    ) -> list[AuditRecord]:
        """Records of everybody; times in Unix seconds."""
        return await self._query(lambda _: True, start_time, end_time, count)

    @noted("audit.report")
    async def export_compliance_report(
        self,
        start_time: float = 0,
        end_time: float = 0,
        format: Literal["csv", "json", "jsonl"] = "csv",  # noqa: A002 - reads well at the call
    ) -> str:
        """All records of a span as text, oldest first; times in Unix seconds."""
        records = await self._query(lambda _: True, start_time, end_time, 0)
        return b"".join(export(reversed(records), format)).decode()

    async def _query(
        self, wanted: Callable[[AuditRecord], bool], start_time: float, end_time: float, count: int
    ) -> list[AuditRecord]:
        found: list[AuditRecord] = []
        for partition in range(self._gateway.store.partitions):
            async for record in self._records(partition):
                if start_time and record.time < start_time * 1000:
                    break
                if (not end_time or record.time < end_time * 1000) and wanted(record):
                    found.append(record)
                    if count and len(found) >= count * (partition + 1):
                        break
        found.sort(key=lambda record: (record.time, record.seq), reverse=True)
        return found[:count] if count else found

    async def _records(self, partition: int) -> AsyncIterator[AuditRecord]:
        records = self._gateway.store.records
        async for block in records.audit_blocks(partition, newest_first=True):
            for text in reversed(block.records()):
                try:
                    yield decode_record(text)
                except msgspec.DecodeError:
                    continue


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
