"""What the calls of the `Agents` service do, each as one agent and with what our own SDK does for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mas_core.agent.agent import Agent
from mas_core.agent.client import Client
from mas_core.agent.supervisor import NewTask, Supervisor, TaskStatus
from mas_core.agent.task_worker import DEFAULT_QUEUE
from mas_core.base.ids import new_message_id
from mas_core.coordination.task import DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT_MS
from mas_core.errors import StateChanged
from mas_core.model.message import AgentMessage
from mas_core.model.priority import NORMAL
from mas_core.protocol import agents_pb2 as wire
from mas_core.server.agent_messages import (
    MAX_METADATA,
    due_at,
    few,
    found_out,
    message_out,
    modes_of,
    payload_of,
    receipt_out,
    request_seconds,
    send_options,
    task_out,
)
from mas_core.server.hosting import HostedClients
from mas_core.state.state_shape import StateShape
from mas_core.store.store import Store

MAX_WAIT_S: Final = 20.0
MAX_LISTED: Final = 1_000
"""Agents that one call lists."""

Result = TypeVar("Result")
Speaker = Client | Agent[Any]


async def send(
    speaker: Speaker, message: wire.NewMessage, during: AgentMessage | None = None
) -> wire.Receipt:
    """Send a message; errors as for `Client.send`."""
    receipt = await speaker.send(
        message.target,
        message.type,
        payload_of(message.data),
        deliver_at=due_at(message),
        deliver_after=message.deliver_after_ms / 1000,
        **send_options(message),
        **modes_of(message, during),
    )
    return receipt_out(receipt)


async def request(
    speaker: Speaker, asked: wire.NewRequest, during: AgentMessage | None = None
) -> wire.Message:
    """Send a message and wait for the reply; errors as for `Client.request`."""
    options = send_options(asked.message)
    reply = await speaker.request(
        asked.message.target,
        asked.message.type,
        payload_of(asked.message.data),
        timeout=request_seconds(asked),
        priority=options["priority"],
        message_id=options["message_id"],
        headers=options["headers"],
        **modes_of(asked.message, during),
    )
    return message_out(reply)


async def publish(speaker: Speaker, publication: wire.NewPublication) -> wire.Receipt:
    """Publish to a topic; errors as for `Client.publish`."""
    receipt = await speaker.publish(
        publication.topic,
        payload_of(publication.data),
        message_type=publication.type,
        **send_options(publication),
    )
    return receipt_out(receipt)


class AgentCalls:
    """The calls that are answered once.

    Args:
        store: The system's.
        clients: Send as the agents that call.
    """

    def __init__(self, store: Store, clients: HostedClients) -> None:
        self._store = store
        self._clients = clients

    async def send(self, agent_id: str, asked: wire.NewMessage) -> wire.Receipt:
        """Send a message."""
        return await self._clients.use(agent_id, lambda client: send(client, asked))

    async def request(self, agent_id: str, asked: wire.NewRequest) -> wire.Message:
        """Send a message and wait for the reply."""
        return await self._clients.use(agent_id, lambda client: request(client, asked))

    async def publish(self, agent_id: str, asked: wire.NewPublication) -> wire.Receipt:
        """Publish to a topic."""
        return await self._clients.use(agent_id, lambda client: publish(client, asked))

    async def discover(self, agent_id: str, asked: wire.DiscoverRequest) -> wire.DiscoverReply:
        """Who is there."""
        capabilities = few(asked.capabilities)
        metadata = payload_of(asked.metadata, "metadata", MAX_METADATA)

        async def ask(client: Client) -> wire.DiscoverReply:
            found = await client.discover(
                capabilities,
                match_all=asked.match_all,
                metadata=metadata,
                limit=min(asked.limit or MAX_LISTED, MAX_LISTED),
            )
            return wire.DiscoverReply(agents=[found_out(agent) for agent in found])

        return await self._clients.use(agent_id, ask)

    async def get_state(self, agent_id: str, _asked: wire.GetStateRequest) -> wire.State:
        """The agent's own state."""
        revision, text = await self._store.agent(agent_id).get_state()
        return wire.State(data=text.decode() or "{}", revision=revision)

    async def set_state(self, agent_id: str, asked: wire.SetStateRequest) -> wire.State:
        """Replace the agent's own state.

        Raises:
            StateChanged: It has another revision by now.
            InvalidPayload: It is no object, or too long.
        """
        text = StateShape[dict[str, Any]](None).encode(payload_of(asked.data, "state"))
        expected = asked.expected_revision if asked.HasField("expected_revision") else None
        done, revision = await self._store.agent(agent_id).set_state(expected, text)
        if not done:
            raise StateChanged(
                f"the state of {agent_id} has revision {revision} by now, not {expected}",
                expected=expected,
                found=revision,
            )
        return wire.State(data=text.decode(), revision=revision)

    async def assign_task(self, agent_id: str, asked: wire.NewTask) -> wire.AssignedTask:
        """Assign a task."""
        new = NewTask(
            type=asked.type,
            parameters=payload_of(asked.parameters, "parameters"),
            task_id=asked.task_id or new_message_id(),
            description=asked.description,
            to=asked.agent,
            capabilities=few(asked.capabilities),
            priority=asked.priority if asked.HasField("priority") else NORMAL,
            timeout=(asked.timeout_ms or DEFAULT_TIMEOUT_MS) / 1000,
            depends_on=few(asked.depends_on),
            max_attempts=asked.max_attempts or DEFAULT_ATTEMPTS,
            retry_delay=asked.retry_delay_ms / 1000,
        )
        queue = asked.queue or DEFAULT_QUEUE
        (task_id,) = await self._supervise(agent_id, queue, lambda supervisor: supervisor.assign_all([new]))
        return wire.AssignedTask(task_id=task_id, queue=queue)

    async def get_task(self, agent_id: str, asked: wire.GetTaskRequest) -> wire.Task:
        """What is known of a task, now or once it is over."""
        wait_s = min(asked.wait_ms / 1000, MAX_WAIT_S)

        async def ask(supervisor: Supervisor) -> TaskStatus:
            return await supervisor.look(asked.task_id, wait_s)

        return task_out(await self._supervise(agent_id, asked.queue, ask))

    async def cancel_task(self, agent_id: str, asked: wire.CancelTaskRequest) -> wire.Task:
        """Cancel a task."""
        found = await self._supervise(
            agent_id, asked.queue, lambda supervisor: supervisor.cancel(asked.task_id, asked.reason[:1000])
        )
        return task_out(found)

    async def _supervise(
        self, agent_id: str, queue: str, work: Callable[[Supervisor], Awaitable[Result]]
    ) -> Result:
        return await self._clients.use(
            agent_id, lambda client: work(Supervisor(client, queue or DEFAULT_QUEUE))
        )
