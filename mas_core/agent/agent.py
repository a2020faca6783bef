"""`Agent`: what people subclass to write an agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import BaseModel

from mas_core.agent.client import Client
from mas_core.agent.connecting import Host, connect
from mas_core.agent.consensus import Consensus
from mas_core.agent.dispatch import Dispatch
from mas_core.agent.handler_calls import HandlerCalls
from mas_core.agent.handlers import Handler, HandlerMethod, handlers_of, on
from mas_core.agent.heartbeat import Heartbeat
from mas_core.agent.keeper import StateKeeper
from mas_core.agent.leadership import Callback, Leadership
from mas_core.agent.listeners import Listeners, subscribe, topic_handlers_of
from mas_core.agent.log_reader import NOW
from mas_core.agent.obedience import Obedience
from mas_core.agent.retries import Retries
from mas_core.agent.supervisor import Supervisor
from mas_core.agent.talking import Talking
from mas_core.agent.task_handlers import TaskMethod, task
from mas_core.agent.task_worker import DEFAULT_QUEUE, TaskOptions, TaskWorker, start_task_worker
from mas_core.agent.voters import VoterMethod, on_proposal
from mas_core.base.failpoints import failpoint
from mas_core.base.ids import check_agent_id, check_capability
from mas_core.base.logs import get_logger
from mas_core.coordination.election import DEFAULT_LEASE_MS
from mas_core.errors import (
    MasError,
    NotStarted,
    Quarantined,
    UsageError,
)
from mas_core.model.delivery_mode import DeliveryMode, parse_delivery
from mas_core.model.message import AgentMessage, TypedPayload
from mas_core.model.standing import ACTIVE, HOLDING
from mas_core.model.topic import TopicGap
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.security.key_files import key_files
from mas_core.settings.agent_environment import read_agent_environment
from mas_core.settings.tls_files import BearerFile, TlsFiles
from mas_core.state.state_shape import StateShape
from mas_core.store.contract import AgentSide

log = get_logger(__name__)

State = TypeVar("State")
TopicMethod = TypeVar("TopicMethod", bound=Callable[..., Awaitable[object]])

DRAIN_TIMEOUT_S = 30.0
HANDLER_TIMEOUT_S = 300.0
STATE_LOOK_S = 2.0
"""How often an agent with a state model looks whether an operator has set its state."""


class Agent(Talking, Generic[State]):
    """An agent: it has an id, takes messages by type, sends and asks, and keeps state.

    Use it as an async context manager, or call `start` and `stop`.

    Args:
        agent_id: 1 to 63 of `a-z 0-9 _ -`; from `AGENT_ID` when left out.
        redis_url: The server; the project's when left out. `memory://` needs none: it runs everything in this
            process, and there everybody may talk to everybody. `grpcs://HOST:PORT` is a server that speaks for
            the system.
        token: The agent's token, or a reference to it such as `env:NAME`; the project's token file when left out.
        capabilities: What the agent can do; added to those of the class.
        state_model: Pydantic model of the state; from `Agent[Model]` when left out, else a plain dict.
        metadata: What discovery shows of it; `get_metadata` can be overridden instead.
        max_in_flight: Handlers that run at the same time.
        heartbeat_interval: Seconds between heartbeats; must be well under 60.
        slot: Set by a supervisor: the place of this instance; a new one there replaces the old.
        tls: Certificate and key that say who the agent is, and the authority of the server; for `grpcs://`. Files
            that are replaced are taken over without a restart.
        bearer: The file with a bearer token, instead of or beside `tls`, where a proxy ends TLS before the server.
        private_keys: Files with private keys for end-to-end encryption; those beside the token file when left
            out. The key that derives from the token is always there.
        pins: Agent id -> SHA-256 fingerprints (hex) of the only public keys of it that count.
        require_signatures: Refuse messages that their sender did not sign, whatever the gateway lets through.
        delivery: How messages are handled whose senders do not say: at_most_once, at_least_once, exactly_once.
        ordered: Handle the messages of each sender one at a time, in their order; several instances, and what is
            tried again, give that up.
        retry: When messages come again that could not be handled: a policy for all, or one for each pattern of
            types; as the gateway is set when left out.
        handler_timeout: Seconds until a handler is ended and its message has failed; 0 for never.
        task_queue: Whose tasks it does, if it has handlers of tasks.
        task_slots: Tasks that this instance works on at a time.
        task_limit: Tasks that all instances of the agent may work on at a time; 0 for no bound of its own.
        task_lease: Seconds after which a task goes to somebody else when this instance is not heard of.
        use_gateway, gateway_url: Accepted for compatibility; the gateway is always on.
    """

    capabilities: ClassVar[Sequence[str]] = ()
    """Capabilities of every agent of this class."""

    def __init__(
        self,
        agent_id: str | None = None,
        *,
        redis_url: str | None = None,
        token: str | None = None,
        capabilities: Sequence[str] = (),
        state_model: type[BaseModel] | None = None,
        metadata: Mapping[str, object] | None = None,
        max_in_flight: int = 64,
        heartbeat_interval: float | None = None,
        slot: str = "",
        namespace: str | None = None,
        partitions: int | None = None,
        tls: TlsFiles | None = None,
        bearer: BearerFile | None = None,
        private_keys: Sequence[str | Path] | None = None,
        pins: Mapping[str, Collection[str]] | None = None,
        require_signatures: bool = False,
        delivery: str = DeliveryMode.AT_LEAST_ONCE,
        ordered: bool = False,
        retry: RetryPolicy | Mapping[str, RetryPolicy] | None = None,
        handler_timeout: float = HANDLER_TIMEOUT_S,
        task_queue: str = DEFAULT_QUEUE,
        task_slots: int = 4,
        task_limit: int = 0,
        task_lease: float = 30.0,
        use_gateway: bool = True,  # noqa: ARG002 - the gateway is always on
        gateway_url: str | None = None,
    ) -> None:
        environment = read_agent_environment()
        name = agent_id or environment.agent_id
        if not name:
            raise UsageError("an agent needs an id", hint="Agent('name') or the variable AGENT_ID")
        if max_in_flight < 1:
            raise UsageError("max_in_flight must be at least 1")
        if handler_timeout < 0:
            raise UsageError("handler_timeout is 0 or more seconds")
        self.id = check_agent_id(name)
        self._url = redis_url or gateway_url or environment.url
        self._token = token
        self._namespace = namespace
        self._partitions = partitions
        self._tls = tls or environment.tls
        self._bearer = bearer or environment.bearer
        self._capabilities = tuple(
            dict.fromkeys(check_capability(item) for item in (*type(self).capabilities, *capabilities))
        )
        self._metadata = dict(metadata or {})
        self._max_in_flight = max_in_flight
        self._delivery = parse_delivery(delivery)
        self._ordered = ordered
        self._heartbeat_interval = heartbeat_interval or environment.heartbeat_interval_s
        self._request_timeout = environment.request_timeout_s
        self._slot = slot
        self._private_keys = None if private_keys is None else [Path(item) for item in private_keys]
        self._tokens_dir: Path | None = None
        self._pins = dict(pins or {})
        self._require_signatures = require_signatures
        self._shape: StateShape[State] = StateShape(state_model or _model_of(type(self)))
        self._handlers: dict[str, Handler] = handlers_of(type(self))
        if retry is None and environment.max_retries is not None:
            retry = RetryPolicy(attempts=1 + environment.max_retries)
        self._retries = Retries(retry, self._handlers)
        self._topic_handlers = topic_handlers_of(type(self))
        self._handler_calls = HandlerCalls(
            self, self._handlers, handler_timeout, [item.handler for item in self._topic_handlers]
        )
        self._task_options = TaskOptions(task_queue, task_slots, task_limit, task_lease)
        self._tasks: TaskWorker | None = None
        self._host: Host | None = None
        self._store: AgentSide | None = None
        self._client: Client | None = None
        self._keeper: StateKeeper[State] | None = None
        self._dispatch: Dispatch | None = None
        self._listeners: Listeners | None = None
        self._heartbeat: Heartbeat | None = None
        self._looking: asyncio.Task[None] | None = None
        self._obedience: Obedience | None = None
        self._incarnation = 0
        self.evicted = asyncio.Event()
        """Set once this agent has stopped for good: evicted, replaced by a younger one, or its token refused."""
        self._end: MasError | None = None
        """Why it has stopped for good."""
        self._is_ending = False
        self._is_draining = False
        """Whether `stop` or the loss of its place ends it now: only one of them does."""
        self._stopped = asyncio.Event()

    @staticmethod
    def on(
        message_type: str | type[TypedPayload],
        *,
        model: type[BaseModel] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> Callable[[HandlerMethod], HandlerMethod]:
        """Mark an async method as the handler of a message type.

        The method takes `(self, message, payload)` or `(self, message)`. With a model the payload is an instance
        of it, and payloads that do not fit never reach the handler; without one it is the plain dict. What it
        returns is the reply to a message that expects one, unless it has replied itself; None is an empty reply.

        Args:
            message_type: Such as `math.add`, or one of the known messages, which is its own model.
            model: Pydantic model of the payload.
            retry: When a message comes again that it failed on.
            timeout: Seconds until it is ended and its message has failed; 0 for never; the agent's when left out.
        """
        return on(message_type, model=model, retry=retry, timeout=timeout)

    @staticmethod
    def subscribe(
        pattern: str,
        *,
        durable: bool = False,
        start: str | int = NOW,
        model: type[BaseModel] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> Callable[[TopicMethod], TopicMethod]:
        """Mark an async method as the handler of what is published to topics.

        The method takes `(self, message, payload)` or `(self, message)`; `message.topic` tells the topic. A message
        that it fails on is tried again here, and then reported and passed over.

        Args:
            pattern: `orders.created`, `orders.*` for one more word, `orders.>` for one or more.
            durable: Whether the agent keeps its place: it goes on where it stopped, its instances share what comes,
                and what one of them had in hand when it died comes again.
            start: Where topics are read from that are there already: `now`, `beginning`, or a message's number.
            model: Pydantic model of the payload.
            retry: When it runs again after it failed.
            timeout: Seconds until it is ended and has failed; 0 for never; the agent's when left out.
        """
        return subscribe(pattern, durable=durable, start=start, model=model, retry=retry, timeout=timeout)

    @staticmethod
    def on_proposal(method: VoterMethod) -> VoterMethod:
        """Mark an async method as the one that votes: it takes `(self, proposal)`, and returns the choice.

        `proposal` is a `Proposal`. The choice is an option, or True and False for yes and no, or options by
        preference in a ranked vote, or None to abstain. It is cast as a ballot signed with this agent's key.
        """
        return on_proposal(method)

    @staticmethod
    def task(task_type: str, *, model: type[BaseModel] | None = None) -> Callable[[TaskMethod], TaskMethod]:
        """Mark an async method as the handler of a type of tasks.

        The method takes `(self, task, parameters)` or `(self, task)`; what it returns is the result. An exception
        fails the attempt, and the task is begun again as often as its assigner lets it. A handler is cancelled
        when its task was cancelled, or was given to somebody else since this agent was not heard of.

        Args:
            task_type: Such as `report.make`.
            model: Pydantic model of the parameters.
        """
        return task(task_type, model=model)

    # Lifecycle

    def set_gateway(self, gateway: Host) -> None:
        """Use a gateway that runs in this process; it registers the agent when it starts."""
        self._host = gateway

    async def start(self) -> None:
        """Connect, load the state, run `on_start`, and take messages from then on.

        Raises:
            AgentNotFound, TokenInvalid, TokenExpired, TokenRevoked: The agent may not connect.
            SecretUnavailable: There is no token at hand.
            StoreUnreachable: The server does not answer.
            GatewayDown: No gateway answers.
            Forbidden: The agent may not claim one of its capabilities.
        """
        if self._client is not None:
            return
        self._stopped.clear()
        connected = await connect(
            self.id,
            self._url,
            self._token,
            self._host,
            namespace=self._namespace,
            partitions=self._partitions,
            tls=self._tls,
            bearer=self._bearer,
        )
        self._host, self._token = connected.host, connected.token
        self._tokens_dir = connected.tokens_dir or self._tokens_dir
        store = self._store = connected.store
        client = Client(
            store,
            self.id,
            connected.token,
            private_keys=self._key_files,
            pins=self._pins,
            require_signatures=self._require_signatures,
        )
        is_attached = False
        try:
            await client.start()
            self._client = client
            self._heartbeat = heartbeat = Heartbeat(
                client,
                self._heartbeat_interval,
                self._facts,
                lose_token=self._lose_token,
                be_replaced=self._be_replaced,
            )
            self._obedience = Obedience(
                self.id,
                hold=self._hold,
                resume=self._resume,
                leave=self._leave,
                confirm=heartbeat.confirm,
            )
            self._incarnation = client.now_ms()
            client.on_directive = self._obedience.take
            client.on_token_refused = heartbeat.hurry
            agent_store = store.agent(self.id)
            await agent_store.create_inboxes()
            self._keeper = StateKeeper(agent_store, self._shape)
            await self._keeper.load()
            await heartbeat.attach()
            is_attached = True
            failpoint("agent.attached")
            self._dispatch = Dispatch(
                client,
                agent_store,
                self._keeper,
                self._handler_calls.call,
                self._max_in_flight,
                self._retries,
                self._delivery,
                ordered=self._ordered,
            )
            self._listeners = Listeners(
                client,
                agent_store,
                self._keeper,
                self._topic_handlers,
                self._handler_calls.call_handler,
                self._max_in_flight,
                self._retries,
                self.on_gap,
            )
            self._handler_calls.start()
            await self.on_start()
            if self._obedience.standing in HOLDING:
                self._hold()
            self._dispatch.start()
            await self._listeners.start()
            self._tasks = start_task_worker(self, client, self._capabilities, self._task_options)
            self._obedience.start()
            heartbeat.start()
            if self._keeper.model_name:
                self._looking = asyncio.create_task(self._look_at_state())
        except BaseException as error:
            if is_attached and isinstance(error, Exception):
                # Otherwise requests would wait for an answer until its lease ends.
                await heartbeat.detach()
            await self._close()
            raise

    async def stop(self, *, drain_timeout: float = DRAIN_TIMEOUT_S) -> bool:
        """Take no more messages, let running handlers finish, run `on_stop`, say goodbye.

        Args:
            drain_timeout: Seconds to wait for handlers; what is left then goes to another instance.

        Returns:
            Whether all handlers finished in time.
        """
        if self._client is None:
            return True
        if self._is_ending:
            await self._stopped.wait()
            return True
        self._begin_to_end()
        drained = True
        try:
            drained = await self._drain(drain_timeout)
            await self.on_stop()
            if self._heartbeat is not None:
                await self._heartbeat.detach()
        finally:
            await self._close()
        return drained

    async def abandon(self) -> None:
        """Stop as if this process had died: what is in hand was begun, and that may be what has killed it."""
        if self._dispatch is not None:
            self._dispatch.keep_starts()
        await self.stop(drain_timeout=0)

    async def drain(self, timeout: float) -> bool:
        """Take no more messages and let running handlers finish; `stop` comes next, and nothing else.

        Args:
            timeout: Seconds to wait; it can be called again when that was too short.

        Returns:
            Whether all handlers finished in time.
        """
        if self._dispatch is None:
            return True
        drained = await self._drain(timeout)
        if not drained and not self._is_draining:
            self._is_draining = True
            if self._heartbeat is not None:
                self._heartbeat.hurry()
        return drained

    async def _drain(self, timeout: float) -> bool:
        """Whether all handlers of messages, topics and tasks have finished."""
        parts = (self._dispatch, self._listeners, self._tasks)
        working = [part.drain(timeout) for part in parts if part is not None]
        return all(await asyncio.gather(*working))

    async def _stop_handlers(self) -> None:
        for part in (self._listeners, self._dispatch):
            if part is not None:
                await part.stop()

    def _begin_to_end(self) -> None:
        self._is_ending = True
        if self._heartbeat is not None:
            self._heartbeat.end()

    async def _close(self) -> None:
        if self._heartbeat is not None:
            await self._heartbeat.stop()
            self._heartbeat = None
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        if self._obedience is not None:
            await self._obedience.stop()
        if self._tasks is not None:
            await self._tasks.stop()
            self._tasks = None
        await self._stop_handlers()
        self._dispatch = self._listeners = None
        await self._handler_calls.stop()
        if self._client is not None:
            await self._client.stop()
            self._client = None
        if self._store is not None and self._host is None:
            await self._store.close()
        self._store = None
        self._is_ending = False
        self._is_draining = False
        self._stopped.set()

    async def wait(self) -> None:
        """Wait until this agent has stopped; what a program that only runs an agent does once it is started.

        Raises:
            TokenExpired, TokenRevoked, TokenInvalid: Its token counts no more; a new `Agent` takes a new one.
            AgentNotFound: It is not registered any more.
            Quarantined: An operator evicted it, or a younger instance has taken its place.
        """
        await self._stopped.wait()
        self.check_not_evicted()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def on_start(self) -> None:
        """Override: runs when the agent is connected and its state is loaded, before it takes messages."""

    async def on_stop(self) -> None:
        """Override: runs when all handlers have finished, before the agent disconnects."""

    def on_gap(self, gap: TopicGap) -> None:
        """Override: called where messages of a topic are missing that were trimmed before a handler heard them."""

    async def on_message(self, message: AgentMessage) -> object:
        """Override: takes messages of types that have no handler. Refuses them unless overridden.

        What it returns is the reply to a message that expects one; when it returns nothing, nothing is replied, so
        that it can keep the message and answer later with `message.reply`.

        Raises:
            UsageError: Always, here.
        """
        raise UsageError(
            f"{self.id} has no handler for {message.message_type}",
            hint=f"it takes {', '.join(sorted(self._handlers)) or 'no types'}",
        )

    def get_metadata(self) -> dict[str, object]:
        """Override: what discovery shows of this agent; read again with every heartbeat."""
        return dict(self._metadata)

    @property
    def token(self) -> str | None:
        """The token in use, once started."""
        return self._token

    @property
    def instance(self) -> str:
        """Id of this running instance.

        Raises:
            NotStarted: The agent is not started.
        """
        return self._started().instance

    # State

    def leadership(
        self,
        group: str,
        *,
        lease: float = DEFAULT_LEASE_MS / 1000,
        on_elected: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> Leadership:
        """Lead a group for as long as an `async with` over this lasts; as `Leadership`."""
        return Leadership(self._started(), group, lease=lease, on_elected=on_elected, on_lost=on_lost)

    @property
    def consensus(self) -> Consensus:
        """Proposals and votes of this agent."""
        return Consensus(self._started())

    @property
    def client(self) -> Client:
        """What this agent sends with, once it is started."""
        return self._started()

    def supervisor(self, queue: str = DEFAULT_QUEUE) -> Supervisor:
        """Assigns tasks to a queue as this agent, and follows them."""
        return Supervisor(self._started(), queue)

    async def backlog(self) -> dict[str, int]:
        """How many of this agent's messages are not handled yet, for each lane: high, normal, low."""
        self._started()
        return await self._keeping().backlog()

    @property
    def state(self) -> State:
        """The state: in a handler its own copy of it, else what was last loaded or committed."""
        return self._keeping().state

    async def update_state(self, changes: Mapping[str, object], *, leading: Leadership | None = None) -> None:
        """Change fields of the state.

        In a handler the change is committed together with the handling of its message; elsewhere at once.

        Args:
            changes: Field -> new value.
            leading: Only if no leader of a later term of this group has changed it before; not in handlers.

        Raises:
            InvalidPayload: The result does not fit the model; nothing is changed.
            LeadershipLost: The term is over.
        """
        if leading is not None:
            leading.check()
        fence = None if leading is None else (leading.group, leading.term)
        await self._keeping().update(changes, fence)

    async def reset_state(self) -> None:
        """Set the state back to its defaults, as `update_state` does."""
        await self._keeping().reset()

    async def refresh_state(self) -> None:
        """Load the state again, for example after another instance changed it."""
        await self._keeping().load()

    # Inside

    def _key_files(self) -> list[Path]:
        if self._private_keys is not None:
            return self._private_keys
        return key_files(self._tokens_dir, self.id)

    def _facts(self) -> dict[str, object]:
        """What the gateway is told of this agent."""
        dispatch, keeper = self._dispatch, self._keeper
        about_state: dict[str, object] = {}
        if keeper is not None and keeper.model_name:
            about_state = {
                "state_model": keeper.model_name[:64],
                "state_looked": keeper.looked_at,
                "state_problem": keeper.problem[:500],
            }
        return {
            "capabilities": list(self._capabilities),
            "metadata": self.get_metadata(),
            "slot": self._slot,
            "in_hand": sum(part.in_hand for part in (dispatch, self._listeners) if part is not None),
            "at_once": self._max_in_flight,
            "status": "draining" if self._is_draining else "active",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "incarnation": self._incarnation,
            "standing": self._obedience.standing if self._obedience else ACTIVE,
            **about_state,
        }

    async def _look_at_state(self) -> None:
        while True:
            await asyncio.sleep(STATE_LOOK_S)
            with contextlib.suppress(MasError):
                if await self._keeping().look() and self._heartbeat is not None:
                    self._heartbeat.hurry()

    def _hold(self) -> None:
        for part in (self._dispatch, self._listeners):
            if part is not None:
                part.hold()

    def _resume(self) -> None:
        for part in (self._dispatch, self._listeners):
            if part is not None:
                part.resume()

    def _be_replaced(self) -> None:
        if self._obedience is not None:
            self._obedience.leave("a younger instance has taken its place")

    def _lose_token(self, error: MasError) -> None:
        """The token is refused for good: nothing reaches this agent any more, so it ends."""
        log.error("token.refused", agent=self.id, code=error.code, reason=error.message)
        self._end = error
        if self._obedience is not None:
            self._obedience.leave(error.message)

    async def _leave(self, reason: str) -> None:
        """End for good, with what is in hand given up."""
        is_known = self._end is None
        if self._end is None:
            log.error("agent.evicted", agent=self.id, reason=reason)
            self._end = Quarantined(
                f"{self.id} has stopped for good: {reason}", hint=f"mas agent describe {self.id}"
            )
        if self._is_ending:
            self.evicted.set()
            return
        self._begin_to_end()
        try:
            await self._stop_handlers()
            await self.on_stop()
            if is_known and self._heartbeat is not None:
                await self._heartbeat.detach()
        finally:
            await self._close()
            self.evicted.set()

    def check_not_evicted(self) -> None:
        """Make sure that this agent has not stopped for good.

        Raises:
            Quarantined: It was evicted, or a younger instance has taken its place.
            TokenExpired, TokenRevoked, TokenInvalid, AgentNotFound: Its token counts no more.
        """
        if self.evicted.is_set() and self._end is not None:
            raise self._end.with_traceback(None)

    def _started(self) -> Client:
        self.check_not_evicted()
        if self._client is None:
            raise NotStarted(
                f"the agent {self.id} is not started: use `async with agent:` or `start()` first"
            )
        return self._client

    def _keeping(self) -> StateKeeper[State]:
        if self._keeper is None:
            raise NotStarted(f"the agent {self.id} is not started, so its state is not loaded")
        return self._keeper


def _model_of(kind: type[Any]) -> type[BaseModel] | None:
    """The model in `class MyAgent(Agent[Model])`."""
    for base in kind.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            for argument in get_args(generic):
                if isinstance(argument, type) and issubclass(argument, BaseModel):
                    return argument
    return None
