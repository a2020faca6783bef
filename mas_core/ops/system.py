"""An open system: the store, the keys and the tokens that an operator has at hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mas_core.errors import GatewayDown, MasError, NotStarted, SecretUnavailable, StoreUnreachable
from mas_core.ops.access import Access, access_of
from mas_core.ops.scan_rules import scan_check
from mas_core.registry.operator_log import OperatorLog, owner_of, this_operator
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.registry import Registry
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.gateway_keys import FILE_NAME, GatewayKeys
from mas_core.security.operator_credentials import Credential, keys_of, read_credential
from mas_core.settings.operator_files import read_credential_at
from mas_core.settings.private_files import read_token
from mas_core.settings.running_context import running_pid
from mas_core.settings.target import Target
from mas_core.store.profiles import replicas_of
from mas_core.store.store import Store

if TYPE_CHECKING:
    from mas_core.agent.client import Client
    from mas_core.model.agent_server_status import AgentServerStatus
    from mas_core.model.gateway_status import GatewayStatus
    from mas_core.model.policy import PolicyDocument
    from mas_core.runner.runner_status import RunnerStatus

OPERATOR = "operator"
"""The agent that commands act as unless told otherwise."""


class System:
    """A system that an operator works on; use it as an async context manager.

    Args:
        target: Where it is and which secrets are at hand, from `mas_core.settings.target.resolve_target`.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.store = Store(
            target.url,
            namespace=target.namespace,
            partitions=target.partitions,
            replicas=replicas_of(target.profile),
        )
        self.access = Access(problem=NotStarted("the system is not open, so nobody knows who works on it"))
        """Who works on the system, and what that operator may do."""

    @cached_property
    def credential(self) -> Credential | None:
        """That of the operator who works here; None where nobody was named.

        Raises:
            SecretUnavailable: It is not there, or open to others.
            ConfigurationError: It is none.
        """
        if not self.target.operator:
            return None
        return read_credential(read_credential_at(self.target.operator), "the file of the operator")

    @cached_property
    def keys(self) -> GatewayKeys:
        """The keys of the system's gateways; for an operator those of its role alone, whatever else lies there.

        Raises:
            SecretUnavailable: They are not at hand, so this command cannot be carried out from here.
            ConfigurationError: They cannot be used.
        """
        if self.credential is not None:
            return keys_of(self.credential)
        if self.target.keys_dir is None:
            raise SecretUnavailable(
                "this needs the gateway's keys, and no folder of keys is known for this system",
                hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
            )
        return GatewayKeys.load(self.target.keys_dir)

    @cached_property
    def registry(self) -> Registry:
        """The registered agents; needs the keys."""
        return Registry(self.store.records, self.keys, self.operator_log)

    @cached_property
    def policy(self) -> PolicyRecord:
        """The policy; needs the keys."""
        scans = scan_check(self.target.project)

        def check(before: PolicyDocument, after: PolicyDocument) -> None:
            self.access.check_change(before, after)
            scans(before, after)

        return PolicyRecord(self.store.records, self.keys, self.operator_log, check)

    @cached_property
    def operator_log(self) -> OperatorLog:
        """Where what is done here is recorded; authenticated by the operator's token, or the whole keys."""
        who, signer = this_operator(), self.access.signer
        vouch: Callable[[bytes], bytes] | None = None
        if signer is not None:
            who, vouch = replace(who, actor=signer.name), signer.sign
        elif self.access.operator:
            who = replace(who, actor=self.access.operator)
        elif self.access.problem is None:
            with contextlib.suppress(MasError):
                vouch = owner_of(self.keys)
        log = OperatorLog(self.store.records, vouch, who, self.access.check_write)
        log.explain(context=self.target.name)
        return log

    @cached_property
    def notices(self) -> SecurityNotices:
        """Where what is noticed here about security is recorded; an operator cannot vouch for it."""
        return SecurityNotices(
            self.store.records, self.keys if self.access.role is None else None, "operator"
        )

    @property
    def actor(self) -> str:
        """Who works on the system: the name of an operator, or user@host."""
        return self.operator_log.operator.actor

    def token_of(self, agent_id: str) -> str:
        """The token of an agent.

        Raises:
            SecretUnavailable: It is not at hand.
        """
        if self.target.tokens_dir is None:
            raise SecretUnavailable(
                f"the token of {agent_id} is not at hand: no folder of tokens is known for this system",
                hint=("run it in the project folder", "mas context add NAME --tokens-dir DIR"),
            )
        return read_token(self.target.tokens_dir, agent_id)

    def client(self, as_agent: str = OPERATOR) -> Client:
        """A client that sends as an agent whose token is at hand.

        Raises:
            SecretUnavailable: It is not.
        """
        from mas_core.agent.client import Client  # noqa: PLC0415 - slow, and few commands send
        from mas_core.security.key_files import key_files  # noqa: PLC0415

        tokens_dir = self.target.tokens_dir
        return Client(
            self.store,
            as_agent,
            self.token_of(as_agent),
            private_keys=lambda: key_files(tokens_dir, as_agent),
        )

    async def gateways(self) -> list[GatewayStatus]:
        """The gateways that run now."""
        from mas_core.model.gateway_status import live_gateways  # noqa: PLC0415 - few commands ask

        now = await self.store.connection.time_ms()
        return live_gateways(await self.store.gateways.heartbeats(), now)

    async def runners(self) -> list[RunnerStatus]:
        """The runners that look after agents now."""
        from mas_core.runner.runner_status import live_runners  # noqa: PLC0415 - few commands ask

        now = await self.store.connection.time_ms()
        return live_runners(await self.store.runners.heartbeats(), now)

    async def agent_servers(self) -> list[AgentServerStatus]:
        """The servers of agents that run now."""
        from mas_core.model.agent_server_status import live_agent_servers  # noqa: PLC0415 - few commands ask

        now, heartbeats = await self.store.agent_servers.all()
        return live_agent_servers(heartbeats, now)

    async def require_gateway(self) -> None:
        """Make sure that somebody takes messages.

        Raises:
            GatewayDown: Nobody does.
        """
        if not await self.gateways():
            raise GatewayDown(
                "no gateway is running, so no message would be taken",
                hint=("mas up", "mas gateway run"),
            )

    async def __aenter__(self) -> Self:
        try:
            await self.store.ping()
            await self.store.layouts.follow()
            self.access = await self._access()
        except StoreUnreachable as error:
            await self.store.close()
            if self.target.project is not None and (pid := running_pid(self.target.project)):
                # `mas up` would only say that it runs
                error.hint = (f"tail {self.target.project.logs_dir / 'gateway.log'}", "mas down")
                if pid == os.getpid():
                    error.hint = ("check that the server runs and that its URL is right",)
            elif self.target.project is None:
                # there is nothing here that `mas up` could start
                error.hint = ("mas config where", "mas context list")
            raise
        except BaseException:
            await self.store.close()
            raise
        return self

    async def _access(self) -> Access:
        try:
            credential = self.credential
            keys: GatewayKeys | None = None
            if credential is not None or self._has_keys():
                keys = self.keys
        except MasError as error:
            return Access(problem=error)
        return await access_of(credential, self.target.operator_cert, keys, self.store.records)

    def _has_keys(self) -> bool:
        folder = self.target.keys_dir
        return folder is not None and os.path.lexists(folder / FILE_NAME)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "notices" in self.__dict__:
            await self.notices.close()
        await self.store.close()
