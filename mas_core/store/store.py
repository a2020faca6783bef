"""The store of one system: a connection, the key names, and a view for each role."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mas_core.store.agents import AgentStore
from mas_core.store.backups import Backups
from mas_core.store.connection import Connection
from mas_core.store.dead_letters import DeadLetters
from mas_core.store.gateways import GatewayRecords
from mas_core.store.heartbeats import Heartbeats
from mas_core.store.keys import Keys
from mas_core.store.layouts import Layouts
from mas_core.store.limits import LimitCounts
from mas_core.store.partitions import PartitionStore
from mas_core.store.progress import Progress
from mas_core.store.queues import Queues
from mas_core.store.records import Records
from mas_core.store.runners import Runners
from mas_core.store.schedule import ScheduledMessages
from mas_core.store.topics import TopicLogs
from mas_core.store.urls import user_of


class Store:
    """Opens one system on one server; close it or use it as an async context manager.

    Args:
        url: redis://, rediss://, unix://, redis+cluster://, redis+sentinel:// or memory://NAME.
        namespace: Prefix of all keys.
        partitions: Number of partitions the system was made with; `layouts.follow` tells if it was changed.
        replicas: Replicas that must have what was acknowledged; 0 outside the `ha` profile.
    """

    def __init__(self, url: str, *, namespace: str = "mas", partitions: int = 1, replicas: int = 0) -> None:
        self.connection = Connection(url, replicas=replicas)
        self.keys = Keys(namespace, partitions)
        self.connection.loads_scripts = not user_of(url).startswith(self.keys.server_user(""))
        self.layouts = Layouts(self.connection, self.keys)
        self.records = Records(self.connection, self.keys)
        self.gateways = GatewayRecords(self.connection, self.keys)
        self.dead_letters = DeadLetters(self.connection, self.keys)
        self.progress = Progress(self.connection, self.keys)
        self.queues = Queues(self.connection, self.keys)
        self.runners = Runners(self.connection, self.keys)
        self.agent_servers = Heartbeats(self.connection, self.keys.agent_servers())
        self.schedule = ScheduledMessages(self.connection, self.keys)
        self.topics = TopicLogs(self.connection, self.keys)
        self.limits = LimitCounts(self.connection, self.keys)
        self.backups = Backups(self.connection, self.keys)

    @property
    def namespace(self) -> str:
        """Prefix of all keys."""
        return self.keys.namespace

    @property
    def replicas(self) -> int:
        """Replicas that must have what was acknowledged."""
        return self.connection.replicas

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return self.keys.partitions

    @property
    def width(self) -> int:
        """Number of partitions that there ever were; each has an audit."""
        return self.keys.width

    def partition(self, number: int) -> PartitionStore:
        """A partition, for its owner."""
        return PartitionStore(self.connection, self.keys, number)

    def agent(self, agent_id: str) -> AgentStore:
        """The streams and the state of one agent."""
        return AgentStore(self.connection, self.keys, agent_id, self.layouts)

    async def time_ms(self) -> int:
        """The server's clock, in Unix milliseconds.

        Raises:
            StoreUnreachable: It does not answer.
        """
        return await self.connection.time_ms()

    async def ping(self) -> None:
        """Check that the server answers.

        Raises:
            StoreUnreachable: It does not.
        """
        await self.connection.call("PING")

    async def close(self) -> None:
        """Close all connections."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
