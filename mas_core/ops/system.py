"""An open system: the store, the keys and the tokens that an operator has at hand."""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mas_core.errors import GatewayDown, MasError, SecretUnavailable, StoreUnreachable
from mas_core.ops.scan_rules import scan_check
from mas_core.registry.operator_log import OperatorLog, this_operator
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.registry import Registry
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.private_files import read_token
from mas_core.settings.running_context import running_pid
from mas_core.settings.target import Target
from mas_core.store.profiles import replicas_of
from mas_core.store.store import Store

if TYPE_CHECKING:
    from mas_core.agent.client import Client
    from mas_core.model.gateway_status import GatewayStatus
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

    @cached_property
    def keys(self) -> GatewayKeys:
        """The keys of the system's gateways.

        Raises:
            SecretUnavailable: They are not at hand, so this command cannot be carried out from here.
        """
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
        return PolicyRecord(self.store.records, self.keys, self.operator_log, scan_check(self.target.project))

    @cached_property
    def operator_log(self) -> OperatorLog:
        """Where what is done here is recorded; authenticated where the keys are at hand."""
        keys: GatewayKeys | None = None
        with contextlib.suppress(MasError):
            keys = self.keys
        log = OperatorLog(self.store.records, keys, this_operator())
        log.explain(context=self.target.name)
        return log

    @cached_property
    def notices(self) -> SecurityNotices:
        """Where what is noticed here about security is recorded; needs the keys."""
        return SecurityNotices(self.store.records, self.keys, "operator")

    @property
    def actor(self) -> str:
        """Who works on the system: user@host."""
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "notices" in self.__dict__:
            await self.notices.close()
        await self.store.close()
