"""A client: sends messages and requests as one agent, and reads what comes back to this very instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mas_core.agent.envelopes import Envelopes, schedule
from mas_core.agent.link import Link
from mas_core.agent.log_reader import BEGINNING, NOW
from mas_core.agent.outbox import SEND_TIMEOUT_S, Outbox
from mas_core.agent.outcomes import failure
from mas_core.agent.peers import Peers
from mas_core.agent.publishing import Publishing
from mas_core.agent.received import message_of
from mas_core.agent.replies import Replies
from mas_core.agent.router import Router
from mas_core.agent.submitter import Submitter
from mas_core.agent.subscription import Subscription
from mas_core.agent.token_check import check_token
from mas_core.agent.topics import ASK_TIMEOUT_S, TopicDesk
from mas_core.agent.tracing import AgentTracing
from mas_core.base.ids import check_agent_id, check_message_id, new_message_id, partition_of
from mas_core.base.resources import check_pattern, check_target
from mas_core.errors import (
    GatewayDown,
    MasError,
    NotStarted,
    Refused,
    RequestTimedOut,
    UsageError,
)
from mas_core.model.decision import Receipt
from mas_core.model.message import (
    DEFAULT_TTL_MS,
    DISCOVER,
    KEYS,
    REHEARSE,
    WAYS,
    AgentMessage,
    Delivery,
    Envelope,
    Flag,
    TypedPayload,
)
from mas_core.model.priority import NORMAL
from mas_core.model.rehearsal import Rehearsal
from mas_core.model.routing import ROUTED
from mas_core.model.standing import Directive
from mas_core.model.topic import TOPIC, TopicGap
from mas_core.security.key_files import load_private_keys
from mas_core.security.tokens import derive_keys
from mas_core.store.contract import AgentSide

REQUEST_TIMEOUT_S = 30.0


class Client(Publishing):
    """Sends as `agent_id`. It receives replies only; `Agent` receives messages too.

    Args:
        store: The system to talk to; the client does not close it.
        agent_id: Who sends.
        token: The agent's token.
        private_keys: Finds the files with private keys of the agent for end-to-end encryption, beside the key
            that derives from its token; asked again when something is encrypted for another key.
        pins: Agent id -> SHA-256 fingerprints (hex) of the only public keys of it that count.
        require_signatures: Refuse messages that their sender did not sign.
    """

    def __init__(
        self,
        store: AgentSide,
        agent_id: str,
        token: str,
        *,
        private_keys: Callable[[], Sequence[Path]] = tuple,
        pins: Mapping[str, Collection[str]] | None = None,
        require_signatures: bool = False,
    ) -> None:
        self.agent_id = check_agent_id(agent_id)
        self._store = store
        self._agent_store = store.agent(agent_id)
        self._link = Link(agent_id, derive_keys(token, agent_id), store.namespace)
        self._outbox = Outbox(self._link, self._agent_store)
        self._replies = Replies(
            self._link,
            self._agent_store,
            self._outbox.take_receipts,
            self._take_directive,
            self._take_news,
            self._token_refused,
        )
        self._envelopes = Envelopes(agent_id, self._outbox.now_ms)
        self.tracing = AgentTracing(agent_id)
        """The trace context of its messages, and where their spans go."""
        self.on_directive: Callable[[Directive], None] | None = None
        """Gets what an operator said of this agent, as the gateway passes it on."""
        self.on_token_refused: Callable[[], None] | None = None
        """Called when the gateway refuses a message because the token has expired or was revoked."""
        self._peers = Peers(
            self._link,
            self._ask_keys,
            load_keys=lambda: load_private_keys(private_keys()),
            pins=pins or {},
            requires_signatures=require_signatures,
        )
        self._submitter = Submitter(self._link, self._outbox, self._peers, self._token_refused)
        self.topics = TopicDesk(
            agent_id,
            self._link.instance,
            store.namespace,
            store.topics,
            ask=self._ask_about_topics,
            tell=self._tell_about_topics,
            now_ms=self._outbox.now_ms,
            received=self.received,
        )
        """Its subscriptions."""
        self.router = Router(agent_id, self._ask_ways)
        """Chooses agents for what is sent to capabilities and routes."""

    @property
    def signs(self) -> bool:
        """Whether messages are signed; so from the first time that the gateway asks for it."""
        return self._submitter.signs

    @signs.setter
    def signs(self, signs: bool) -> None:
        self._submitter.signs = signs

    @property
    def instance(self) -> str:
        """The id of this running instance."""
        return self._link.instance

    @property
    def link(self) -> Link:
        """Opens frames for this instance."""
        return self._link

    def now_ms(self) -> int:
        """The server's clock in Unix milliseconds, by estimate."""
        return self._outbox.now_ms()

    async def start(self) -> None:
        """Check the token against the registration and start reading replies.

        Raises:
            AgentNotFound: The agent is not registered.
            TokenInvalid: The token is not the agent's.
            TokenExpired, TokenRevoked: It was.
            StoreUnreachable: The server does not answer.
        """
        await self._agent_store.follow_layout()
        await self.check_token()
        await self._agent_store.follow_profile()
        await self.read_clock()
        self._outbox.start()
        self._replies.start()

    async def stop(self) -> None:
        """Stop; requests that are still waiting fail."""
        if self._replies.is_started:
            await self.topics.stop()
            await self._outbox.stop()
            await self._replies.stop()
            await self.tracing.end()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def read_clock(self) -> None:
        """Take over what the server's clock says.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        self._outbox.clock.set(await self._store.time_ms())

    async def check_token(self) -> None:
        """Compare the token with the registration; raises as `start` does."""
        await check_token(self._agent_store, self._link.keys.key_id, self.now_ms)

    async def send(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_id: str = "",
        headers: dict[str, str] | None = None,
        encrypt: bool = False,
        delivery: str = "",
        deliver_at: datetime | None = None,
        deliver_after: float = 0.0,
        on_behalf_of: AgentMessage | None = None,
        timeout: float = SEND_TIMEOUT_S,
    ) -> Receipt:
        """Send a message and wait for the gateway's receipt, which is given once it is safely on its way.

        Args:
            target: Id of the agent to send to; `capability:NAME` for one of those who can do that, `route:NAME` for
                one that a routing rule of the policy leads to, `route:*` for the first rule that fits the type.
            message_type: Such as `task.process`.
            data: A dict or a pydantic model.
            priority: 0 to 10, or critical, high, normal, low, bulk.
            ttl: Seconds after which the message is of no use any more.
            message_id: An id of your own: sending it again has no second effect and gives the first receipt.
            headers: Short texts that travel with the message, such as a trace context.
            encrypt: Encrypt the payload so that only the target can read it, where the policy lets it.
            delivery: at_most_once, at_least_once or exactly_once; what the target is set to, when left out.
            deliver_at: When it is due, with a time zone, by the server's clock; at once when that is past. Its time
                to live begins then, and it is judged again by the policy that is in force then.
            deliver_after: Seconds after which it is due, instead.
            on_behalf_of: The request that it is sent for: the receiver learns who asked, and the policy may want
                that everybody who asked could send it.
            timeout: Seconds to wait for the receipt.

        Raises:
            UsageError: The time to live is not above 0 s, or above 30 days; there is no such delivery; it is due
                more than a year ahead, or at a time without a time zone; or on whose behalf it is sent did not ask.
            Refused: The gateway said no; the subclass says which stage.
            AgentNotFound: There is no such agent.
            NoResponder, RouteNotFound: Nobody runs of those that it may go to, or no routing rule speaks of it.
            InvalidPayload: The payload is not an object or too large, or a header is not text.
            KeyNotFound: It is to be encrypted, and the target has no key for that.
            GatewayDown: No receipt came in time; the message may still be delivered. `details["message_id"]` is
                its id: sent again under it, a message with an id of your own or `exactly_once` is not doubled.
        """
        if target.startswith(ROUTED):
            return await self.router.carry(
                target,
                message_type,
                data,
                message_id,
                lambda agent_id, own_id: self.send(
                    agent_id,
                    message_type,
                    data,
                    priority=priority,
                    ttl=ttl,
                    message_id=own_id,
                    headers=headers,
                    encrypt=encrypt,
                    delivery=delivery,
                    deliver_at=deliver_at,
                    deliver_after=deliver_after,
                    on_behalf_of=on_behalf_of,
                    timeout=timeout,
                ),
            )
        envelope = self._envelopes.make(
            target, message_type, data, priority, ttl, message_id, headers, delivery, on_behalf_of
        )
        if deliver_at is not None or deliver_after:
            schedule(envelope, deliver_at, deliver_after)
        return await self.submit(envelope, timeout, encrypt=encrypt)

    async def send_many(
        self,
        target: str,
        message_type: str,
        payloads: Iterable[object],
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_ids: Iterable[str] = (),
        headers: dict[str, str] | None = None,
        delivery: str = "",
        timeout: float = SEND_TIMEOUT_S,
    ) -> list[Receipt]:
        """Send messages in this order and wait for all receipts; the cheapest way to send what is at hand.

        Args:
            target: Id of the agent to send to.
            message_type: Type of all of them.
            payloads: Dicts or pydantic models, one for each message.
            priority: 0 to 10, or a name.
            ttl: Seconds after which they are of no use any more.
            message_ids: Ids of your own, one for each message, or none.
            headers: Short texts that travel with each.
            delivery: at_most_once, at_least_once or exactly_once; what the target is set to, when left out.
            timeout: Seconds to wait for the receipts.

        Returns:
            For each message its receipt; one that was refused raises nothing here, its receipt says so.

        Raises:
            UsageError, InvalidPayload, GatewayDown: As for `send`.
        """
        submitter = self._started()
        ids = iter(message_ids)
        envelopes = [
            self._envelopes.make(
                target, message_type, payload, priority, ttl, next(ids, ""), headers, delivery
            )
            for payload in payloads
        ]
        spans = [self.tracing.begin(envelope) for envelope in envelopes]
        receipts = await submitter.submit_many(envelopes, timeout)
        for span, receipt in zip(spans, receipts, strict=True):
            if span is not None:
                span.end(receipt=receipt)
        return receipts

    async def send_to_all(
        self,
        targets: Sequence[str],
        message_type: str,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_ids: Iterable[str] = (),
        timeout: float = SEND_TIMEOUT_S,
    ) -> list[Receipt]:
        """Send one message to many targets, in as few frames as possible; each is judged on its own.

        Args:
            targets: Ids of agents.
            message_type: Type of the message.
            data: A dict or a pydantic model; it is encoded once.
            priority: 0 to 10, or a name.
            ttl: Seconds after which it is of no use any more.
            message_ids: Ids of your own, one for each target, or none.
            timeout: Seconds to wait for the receipts.

        Returns:
            For each target its receipt, also where it was refused.

        Raises:
            UsageError, InvalidPayload, GatewayDown: As for `send`.
        """
        submitter = self._started()
        if not targets:
            return []
        ids = iter(message_ids)
        first = self._envelopes.make(targets[0], message_type, data, priority, ttl, next(ids, ""), None)
        envelopes = [first]
        for target in targets[1:]:
            message_id = next(ids, "")
            envelopes.append(
                msgspec.structs.replace(
                    first,
                    id=check_message_id(message_id) if message_id else new_message_id(),
                    target=check_target(target),
                )
            )
        spans = [self.tracing.begin(envelope) for envelope in envelopes]
        by_partition: dict[int, list[int]] = {}
        for at, envelope in enumerate(envelopes):
            partition = partition_of(envelope.target, self._store.partitions)
            by_partition.setdefault(partition, []).append(at)
        answers = await asyncio.gather(
            *(
                submitter.submit_many([envelopes[at] for at in places], timeout)
                for places in by_partition.values()
            )
        )
        receipts: dict[int, Receipt] = {}
        for places, answer in zip(by_partition.values(), answers, strict=True):
            receipts.update(zip(places, answer, strict=True))
        for at, span in enumerate(spans):
            if span is not None:
                span.end(receipt=receipts[at])
        return [receipts[at] for at in range(len(envelopes))]

    def subscribe(
        self,
        pattern: str,
        *,
        durable: bool = False,
        start: str | int = NOW,
        on_gap: Callable[[TopicGap], None] | None = None,
    ) -> Subscription:
        """Hear what is published to topics: `async for message in client.subscribe("orders.>")`.

        As a context (`async with client.subscribe(...) as messages`) it has begun when the block does, and ends
        with it; without, it begins with the first message that is asked for, and ends with the client.

        Args:
            pattern: `orders.created`, `orders.*` for one more word, `orders.>` for one or more.
            durable: Whether the agent keeps its place: it goes on where it stopped, and its instances share what
                comes. A message counts as handled when the next one is asked for.
            start: Where topics are read from that are there already: `now`, `beginning`, or a message's number. A
                place that the agent has is not left.
            on_gap: Called where messages are missing that were trimmed before they were read.

        Raises:
            InvalidIdentifier: It is no pattern.
            UsageError: There is no such start.
        """
        check_pattern(TOPIC, pattern)
        if start not in (NOW, BEGINNING) and not (isinstance(start, int) and start > 0):
            raise UsageError(f"{start!r} is no start", hint=f"{NOW}, {BEGINNING} or the number of a message")
        return Subscription(self.topics, pattern, durable=durable, start=start, on_gap=on_gap)

    async def request(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object = None,
        *,
        timeout: float = REQUEST_TIMEOUT_S,
        priority: int | str = NORMAL,
        message_id: str = "",
        headers: dict[str, str] | None = None,
        encrypt: bool = False,
        delivery: str = "",
        on_behalf_of: AgentMessage | None = None,
    ) -> AgentMessage:
        """Send a message and wait for the answer of its target.

        Args:
            target: Id of the agent to ask, or `capability:NAME` or `route:NAME`, as for `send`.
            message_type: Such as `math.add`.
            data: A dict or a pydantic model.
            timeout: Seconds to wait for the reply.
            priority: 0 to 10, or a name.
            message_id: An id of your own. Where nobody knows what became of a request, the same instance asks again
                under the same id: it is handled once and gives the one reply, also where that came meanwhile. So
                it does not end with its time-out, but lives for an hour.
            headers: Short texts that travel with the message.
            encrypt: Encrypt the payload so that only the target can read it; the reply is encrypted as well.
            delivery: at_most_once, at_least_once or exactly_once; what the target is set to, when left out.
            on_behalf_of: The request that it is sent for, as for `send`.

        Raises:
            Refused: The gateway said no.
            KeyNotFound: It is to be encrypted, and one of the two has no key for that.
            DecryptionFailed: The reply does not open.
            SignatureInvalid: The signature of the reply is not right.
            AgentNotFound: There is no such agent.
            NoResponder: No instance of it is running.
            RequestTimedOut: No reply came in time.
            StoreUnreachable: The server was away all that time.
            AgentFailed: The agent answered with an error.
            InvalidPayload: The payload is not what the agent takes.
        """
        if target.startswith(ROUTED):
            return await self.router.carry(
                target,
                message_type,
                data,
                message_id,
                lambda agent_id, own_id: self.request(
                    agent_id,
                    message_type,
                    data,
                    timeout=timeout,
                    priority=priority,
                    message_id=own_id,
                    headers=headers,
                    encrypt=encrypt,
                    delivery=delivery,
                    on_behalf_of=on_behalf_of,
                ),
                expects_reply=True,
            )
        # Who may ask again wants the reply even if it comes after the first waiting has ended.
        ttl = max(timeout, DEFAULT_TTL_MS / 1000) if message_id else timeout
        envelope = self._envelopes.make(
            target, message_type, data, priority, ttl, message_id, headers, delivery, on_behalf_of
        )
        envelope.flags |= Flag.EXPECTS_REPLY
        answer = self._replies.expect(envelope.id)
        span = self.tracing.begin(envelope)
        try:
            async with asyncio.timeout(timeout):
                if not answer.done():
                    await self.submit(envelope, timeout + 1, encrypt=encrypt)
                answered = await answer
                reply = await self.received(answered)
            if span is not None:
                span.end("agent_failed" if reply.meta.is_error else "", reply=answered)
        except MasError as error:
            if span is not None:
                span.end(error.code, is_refused=isinstance(error, Refused))
            raise
        except TimeoutError:
            if span is not None:
                span.end("request_timed_out")
            if (lost := self._started().lost(envelope.id)) is not None:
                raise lost from None
            raise RequestTimedOut(
                f"{target} did not answer {envelope.type} within {timeout:g} s",
                target=target,
                seconds=timeout,
            ) from None
        finally:
            self._replies.forget(envelope.id, keep=bool(message_id))
        if reply.meta.is_error:
            raise failure(reply)
        return reply

    async def discover(
        self,
        capabilities: Sequence[str] = (),
        *,
        match_all: bool = False,
        metadata: dict[str, object] | None = None,
        limit: int = 0,
        timeout: float = REQUEST_TIMEOUT_S,
    ) -> list[dict[str, object]]:
        """Running agents that this one may talk to.

        Args:
            capabilities: Agents with any of these; all agents when left out.
            match_all: Only agents with all of them.
            metadata: Only agents whose metadata has these values.
            limit: Only so many, those with the least in hand for each instance; 0 for all, by id.
            timeout: Seconds to wait.

        Returns:
            For each agent its `id`, `capabilities`, `metadata`, `instances`, `load` (messages in hand) and `free`
            (how many more its instances would begin at once).
        """
        data = {
            "capabilities": list(capabilities),
            "match_all": match_all,
            "metadata": metadata or {},
            "limit": limit,
        }
        reply = await self._ask_gateway(DISCOVER, data, timeout)
        agents = reply.data.get("agents")
        return agents if isinstance(agents, list) else []

    async def rehearse(
        self,
        target: str,
        message_type: str,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        headers: dict[str, str] | None = None,
        encrypt: bool = False,
        expects_reply: bool = False,
        deliver_at: datetime | None = None,
        deliver_after: float = 0.0,
        timeout: float = REQUEST_TIMEOUT_S,
    ) -> Rehearsal:
        """Ask what would become of a message: every stage is asked, nothing is delivered, counted or remembered.

        Args:
            target: Id of the agent that would get it.
            message_type: Such as `task.process`.
            data: A dict or a pydantic model.
            priority: 0 to 10, or a name.
            ttl: Seconds that the message would live.
            headers: Short texts that would travel with it.
            encrypt: Whether it would be encrypted, as for `send`.
            expects_reply: Whether it would be a request.
            deliver_at: When it would be due.
            deliver_after: Seconds after which it would be due, instead.
            timeout: Seconds to wait.

        Raises:
            Refused: The gateway takes nothing from this agent.
            GatewayDown: No gateway answered in time.
        """
        envelope = self._envelopes.make(target, message_type, data, priority, ttl, "", headers)
        if expects_reply:
            envelope.flags |= Flag.EXPECTS_REPLY
        if deliver_at is not None or deliver_after:
            schedule(envelope, deliver_at, deliver_after)
        if encrypt:
            await self._peers.encrypt(envelope)
        self._submitter.sign(envelope)
        asking = self._envelopes.to_gateway(REHEARSE, None)
        asking.data = msgspec.msgpack.encode(envelope)
        reply = await self._ask(asking, timeout, target)
        return msgspec.convert(reply.data, Rehearsal)

    async def tell(self, message_type: str, data: object, timeout: float = SEND_TIMEOUT_S) -> Receipt:
        """Say something to the gateway itself; raises as `send` does."""
        envelope = self._envelopes.to_gateway(message_type, data)
        return await self._started().submit(envelope, timeout, self.agent_id)

    async def submit(
        self, envelope: Envelope, timeout: float = SEND_TIMEOUT_S, *, encrypt: bool = False
    ) -> Receipt:
        """Send a message that is made already; raises as `send` does.

        Args:
            envelope: The message.
            timeout: Seconds to wait for the receipt.
            encrypt: Encrypt it, so that only its target can read it.
        """
        if encrypt:
            sending = self._started().submit_encrypted(envelope, timeout)
        else:
            sending = self._started().submit(envelope, timeout)
        if (span := self.tracing.begin(envelope)) is not None:
            return await span.around(sending)
        return await sending

    def is_plain(self, delivery: Delivery) -> bool:
        """Whether there is no signature to check and nothing to decrypt."""
        return (
            delivery.proof is None
            and not delivery.flags & Flag.ENCRYPTED
            and not self._peers.requires_signatures
        )

    async def received(self, delivery: Delivery) -> AgentMessage:
        """A delivery as the message that it is, its signature checked and its payload decrypted.

        Raises:
            SignatureInvalid: The sender's signature is not right, or is missing though required.
            DecryptionFailed: The payload is encrypted and does not open here.
            GatewayDown: No gateway tells the sender's keys.
        """
        if self.is_plain(delivery):
            return message_of(delivery)
        signed = await self._peers.verify(delivery)
        # Where others have to sign, so has this agent.
        self.signs = self.signs or signed is not None
        key_id = ""
        if delivery.flags & Flag.ENCRYPTED:
            key_id, data = self._peers.decrypt(delivery)
            delivery = msgspec.structs.replace(delivery, data=data)
        message = message_of(delivery)
        message.encrypted_for = key_id
        message.signed = signed
        return message

    async def _ask_ways(self, target: str, message_type: str, *, expects_reply: bool) -> AgentMessage:
        question = {"target": target, "type": message_type, "expects_reply": expects_reply}
        return await self._ask_gateway(WAYS, question, REQUEST_TIMEOUT_S)

    async def _ask_keys(self, agent_ids: list[str]) -> AgentMessage:
        return await self._ask_gateway(KEYS, {"agents": agent_ids}, REQUEST_TIMEOUT_S)

    async def _ask_gateway(self, message_type: str, data: object, timeout: float) -> AgentMessage:
        return await self._ask(self._envelopes.to_gateway(message_type, data), timeout, self.agent_id)

    async def _ask(self, envelope: Envelope, timeout: float, route: str) -> AgentMessage:
        answer = self._replies.expect(envelope.id)
        try:
            async with asyncio.timeout(timeout):
                await self._started().submit(envelope, timeout + 1, route)
                return message_of(await answer)
        except TimeoutError as error:
            if isinstance(error, MasError):
                raise
            raise GatewayDown(
                f"no gateway answered within {timeout:g} s", hint=("mas gateway status", "mas up")
            ) from None
        finally:
            self._replies.forget(envelope.id)

    def _started(self) -> Submitter:
        if not self._replies.is_started:
            raise NotStarted
        return self._submitter

    async def _ask_about_topics(self, message_type: str, data: object, route: str) -> AgentMessage:
        return await self._ask(self._envelopes.to_gateway(message_type, data), ASK_TIMEOUT_S, route)

    async def _tell_about_topics(self, message_type: str, data: object, route: str) -> Receipt:
        envelope = self._envelopes.to_gateway(message_type, data)
        return await self._started().submit(envelope, SEND_TIMEOUT_S, route)

    def _take_news(self, delivery: Delivery) -> None:
        self.topics.take_news(delivery)

    def _token_refused(self) -> None:
        if self.on_token_refused is not None:
            self.on_token_refused()

    def _take_directive(self, directive: Directive) -> None:
        if self.on_directive is not None:
            self.on_directive(directive)
