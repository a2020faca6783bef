"""A system behind a server, as one agent sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from mas_core.errors import ConfigurationError, UsageError
from mas_core.protocol.frames_pb2 import Call, Hello
from mas_core.remote.exchange import Credentials, Exchange
from mas_core.remote.logs import RemoteLogs
from mas_core.remote.streams import RemoteStreams

SCHEME: Final = "grpcs"
DEFAULT_PORT: Final = 7443


class RemoteSystem:
    """What `store.store.Store` is for agents that reach the store themselves. Made by `open`."""

    def __init__(self, exchange: Exchange, agent_id: str, namespace: str) -> None:
        self._exchange = exchange
        self._agent_id = agent_id
        self.namespace = namespace
        """First part of the system's keys."""
        self.topics = RemoteLogs(exchange, agent_id)
        """The logs of topics."""

    @classmethod
    async def open(
        cls, url: str, agent_id: str, credentials: Credentials, bearer: Callable[[], str] | None = None
    ) -> RemoteSystem:
        """Connect as an agent.

        Args:
            url: grpcs://HOST:PORT.
            agent_id: Whom the certificate has to be for.
            credentials: Gives certificate chain, private key and authorities as PEM, anew for each connection.
            bearer: Gives a bearer token, where a proxy ends TLS.

        Raises:
            UsageError: The URL cannot be one.
            StoreUnreachable: The server does not answer, or does not take the certificate.
            Unauthenticated, Forbidden: It says why it does not take the agent.
            ConfigurationError: The certificate is for another agent.
        """
        exchange = Exchange(address_of(url), credentials, bearer)
        try:
            welcome = (await exchange.call(Call(hello=Hello()))).welcome
        except BaseException:
            await exchange.close()
            raise
        if welcome.agent_id != agent_id:
            await exchange.close()
            raise ConfigurationError(
                f"the certificate is for {welcome.agent_id}, and this agent is {agent_id}",
                hint=(f"mas cert issue {agent_id}", "mas cert inspect FILE"),
            )
        return cls(exchange, agent_id, welcome.namespace)

    @property
    def partitions(self) -> int:
        """Number of partitions, as far as it is known here."""
        return self._exchange.partitions

    def agent(self, agent_id: str) -> RemoteStreams:
        """The streams and the state of the agent.

        Raises:
            UsageError: It is another one than the certificate is for.
        """
        if agent_id != self._agent_id:
            raise UsageError(f"this connection is for {self._agent_id}, not for {agent_id}")
        return RemoteStreams(self._exchange, agent_id)

    async def time_ms(self) -> int:
        """The store's clock, in Unix milliseconds."""
        return (await self._exchange.call(Call(hello=Hello()))).welcome.time_ms

    async def close(self) -> None:
        """End the conversation."""
        await self._exchange.close()


def address_of(url: str) -> str:
    """host:port of a URL grpcs://HOST[:PORT].

    Raises:
        UsageError: It is no such URL.
    """
    hint = f"write {SCHEME}://HOST:PORT, such as {SCHEME}://localhost:{DEFAULT_PORT}"
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise UsageError(f"this is no URL of a server: {error}", hint=hint) from None
    if parts.scheme != SCHEME or not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise UsageError("this is no URL of a server", hint=hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}"
