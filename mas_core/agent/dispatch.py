"""Runs handlers as turns: one message in, its effects out exactly once, or the message handed back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mas_core.agent.client import Client
from mas_core.agent.held_frames import Held
from mas_core.agent.inbox import Inbox
from mas_core.agent.keeper import StateKeeper
from mas_core.agent.outcomes import error_payload
from mas_core.agent.received import message_of
from mas_core.agent.retries import Retries
from mas_core.agent.returns import Returns
from mas_core.agent.settling import Settler
from mas_core.agent.turn import MustRunAlone, Turn, current_turn
from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.ids import ERROR_ORDINAL, REPLY_ORDINAL, derived_message_id
from mas_core.base.logs import get_logger
from mas_core.base.traces import hint_of, trace_of
from mas_core.errors import (
    DecryptionFailed,
    GatewayDown,
    InvalidPayload,
    MasError,
    SignatureInvalid,
    StateChanged,
    StoreUnreachable,
    UsageError,
)
from mas_core.model.decision import Receipt
from mas_core.model.delivery_mode import DeliveryMode, mode_of
from mas_core.model.message import POISON, AgentMessage, Delivery, Envelope, Flag, payload_bytes
from mas_core.resilience.retry_policy import wait_of
from mas_core.store.agents import SETTLED_ELSEWHERE, STATE_CHANGED, Settlement
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

NO_ANSWER: Final = object()
"""What a handler gives back that answers later, or not at all."""
_RETRY_S = 0.5
_MAX_RETRY_S = 30.0


class Dispatch:
    """Takes messages from the inbox, runs their handlers, and settles them.

    Args:
        client: Sends replies and handed-back messages.
        store: The agent's streams.
        keeper: The agent's state.
        handle: Runs the handler of a message and returns what it returned.
        max_in_flight: Handlers that run at the same time.
        retries: When messages come again that could not be handled.
        delivery: How often messages are handled whose senders do not say.
        ordered: Whether a message waits until the one before it of the same sender is handled.
    """

    def __init__(
        self,
        client: Client,
        store: AgentStreams,
        keeper: StateKeeper[Any],
        handle: Callable[[AgentMessage], Awaitable[object]],
        max_in_flight: int,
        retries: Retries,
        delivery: DeliveryMode = DeliveryMode.AT_LEAST_ONCE,
        *,
        ordered: bool = False,
    ) -> None:
        self._client = client
        self._store = store
        self._retries = retries
        self._delivery = delivery
        self._keeper = keeper
        self._handle = handle
        self._inbox = Inbox(
            client.link, store, self._take, self._give_up, self._settled, max_in_flight, ordered=ordered
        )
        self._settler = Settler(store, client.instance, self._inbox.release)
        self._stateful_types: set[str] = set()
        self._returns = Returns(client, retries, self._inbox.release)

    @property
    def in_hand(self) -> int:
        """Messages that were read and are not settled."""
        return self._inbox.in_hand

    def start(self) -> None:
        """Start taking messages."""
        self._settler.start()
        self._inbox.start()

    def hold(self) -> None:
        """Start no handler until `resume`."""
        self._inbox.hold()

    def resume(self) -> None:
        """Start handlers again."""
        self._inbox.resume()

    def keep_starts(self) -> None:
        """Let what was noted of started handlers stand when they are stopped."""
        self._inbox.keep_starts()

    async def drain(self, timeout_s: float) -> bool:
        """Take no more messages and let running handlers finish; whether they did."""
        drained = await self._inbox.drain(timeout_s)
        if not drained:
            await self._inbox.forget_starts(self._may_start_again)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settler.flush()
        return drained

    async def stop(self) -> None:
        """Stop at once."""
        await self._inbox.forget_starts(self._may_start_again)
        await self._inbox.stop()
        await self._settler.stop()
        await self._returns.stop()

    async def _take(self, held: Held) -> None:
        delivery = held.delivery
        if held.refusal:
            await self._returns.hand_back(held, held.refusal, "", retryable=False)
            return
        if delivery is None:
            await self._returns.hand_back(
                held, "unopenable", "it is sealed for a key that the instance does not have", retryable=True
            )
            return
        if self._client.now_ms() > delivery.expires_at:
            await self._returns.hand_back(
                held, "expired", "its time to live ended in the inbox", retryable=False
            )
            return
        try:
            if self._client.is_plain(delivery):
                message = message_of(delivery)
            else:
                message = await self._client.received(delivery)
        except (SignatureInvalid, DecryptionFailed, InvalidPayload) as error:
            log.error(
                "delivery.refused",
                agent=delivery.target,
                sender=delivery.sender,
                message_id=delivery.id,
                trace_id=self._client.tracing.trace_of(delivery),
                reason=error.message,
            )
            if delivery.flags & Flag.EXPECTS_REPLY and not isinstance(error, SignatureInvalid):
                await self._fail(held, self._unread(delivery), error)
            else:
                await self._returns.hand_back(held, error.code, error.message, retryable=False)
            return
        except MasError as error:
            await self._returns.hand_back(held, error.code, error.message, retryable=True)
            return
        message.replier = self._reply
        message.takeovers = held.takeovers
        mode = mode_of(delivery.flags) or self._delivery
        if mode is not DeliveryMode.AT_LEAST_ONCE and not await self._may_begin(held, delivery, mode):
            return
        if message.message_type not in self._stateful_types:
            try:
                await self._take_turn(held, message, mode, is_alone=False)
            except MustRunAlone:
                self._stateful_types.add(message.message_type)
            else:
                return
        async with self._keeper.alone:
            try:
                while not await self._take_turn(held, message, mode, is_alone=True):
                    await self._keeper.load()
            except MasError as error:
                # What is stored now does not fit the agent's model, or cannot be read: not the sender's fault.
                await self._fail(held, message, error)

    def _mode(self, held: Held) -> DeliveryMode:
        return (mode_of(held.delivery.flags) if held.delivery is not None else None) or self._delivery

    def _may_start_again(self, held: Held) -> bool:
        return self._mode(held) is not DeliveryMode.AT_MOST_ONCE

    async def _may_begin(self, held: Held, delivery: Delivery, mode: DeliveryMode) -> bool:
        """Whether the handler may start, which is noted; if not, the message is done with."""
        if mode is DeliveryMode.EXACTLY_ONCE:
            if not await self._was_handled(delivery):
                return True
            trace_id = self._client.tracing.trace_of(delivery)
            log.info("message.repeated", agent=delivery.target, message_id=delivery.id, trace_id=trace_id)
            self._settler.settle(held.lane, held.entry, held.total, held.position)
            return False
        starts = held.starts or await self._inbox.mark_started(held)
        if starts == SETTLED_ELSEWHERE:
            self._inbox.release(held.lane, held.entry, 1)
        elif starts > 1:
            await self._give_up(held)
        return starts == 1

    async def _was_handled(self, delivery: Delivery) -> bool:
        delays = exponential_delays(_RETRY_S, _MAX_RETRY_S)
        while True:
            try:
                return await self._store.was_handled(_mark(delivery))
            except MasError as error:
                log.warning("store.unavailable", agent=delivery.target, reason=error.message)
                await asyncio.sleep(next(delays))

    def _unread(self, delivery: Delivery) -> AgentMessage:
        """A request that does not open here, to answer that; encrypted, as every answer to it has to be."""
        message = message_of(delivery)
        message.encrypted_for = self._client.link.keys.key_id
        message.replier = self._reply
        return message

    async def _take_turn(
        self, held: Held, message: AgentMessage, mode: DeliveryMode, *, is_alone: bool
    ) -> bool:
        """Run the handler once; False when another instance changed the state meanwhile."""
        runs_once = mode is DeliveryMode.AT_MOST_ONCE
        turn = Turn(message.message_id, message.target_id, is_alone, runs_once=runs_once, message=message)
        try:
            if not self._client.tracing.sees_handlers:
                return await self._run(held, message, mode, turn)
            with self._client.tracing.handling(message, turn):
                turn.is_over = await self._run(held, message, mode, turn)
            return turn.is_over
        finally:
            if turn.holds_lock:
                self._stateful_types.add(message.message_type)
                self._keeper.alone.release()

    async def _run(self, held: Held, message: AgentMessage, mode: DeliveryMode, turn: Turn) -> bool:
        mark = current_turn.set(turn)
        try:
            failpoint("agent.before_handler")
            result = await self._handle(message)
            failpoint("agent.after_handler")
            if message.expects_reply and not turn.has_changed_state:
                await self._answer(message, turn, result)
        except asyncio.CancelledError as error:
            worker = asyncio.current_task()
            if worker is None or worker.cancelling():
                raise
            # Nobody cancelled us: something that the handler waited for was cancelled.
            turn.failure = await self._fail(held, message, error)
            return True
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its message's failure
            turn.failure = await self._fail(held, message, error)
            return True
        finally:
            current_turn.reset(mark)
        if not (turn.has_changed_state or mode is DeliveryMode.EXACTLY_ONCE):
            self._settler.settle(held.lane, held.entry, held.total, held.position)
        elif not await self._settle_alone(held, turn, mode):
            if not turn.runs_once:
                return False
            changed = StateChanged("another instance has changed the state meanwhile")
            turn.failure = await self._fail(held, message, changed)
            with contextlib.suppress(MasError):
                await self._keeper.load()
            return True
        if held.delivery is not None and held.delivery.flags & Flag.TRIAL:
            self._returns.tell_outcome(message, "")
        if turn.has_changed_state:
            # Only now is it certain that this is the run whose state counts, and so its answer.
            turn.has_committed = True
            for asked, reply in turn.answers:
                await self._answer_or_say_why(asked, self._send(asked, reply))
            await self._answer_or_say_why(message, self._answer(message, turn, result))
        return True

    async def _answer(self, message: AgentMessage, turn: Turn, result: object) -> None:
        """Send what the handler returned, unless it has answered itself; nothing returned is an empty reply."""
        if message.expects_reply and not turn.has_replied and result is not NO_ANSWER:
            await self._reply(message, f"{message.message_type}.reply", result, final=True, error=False)

    async def _answer_or_say_why(self, message: AgentMessage, answering: Awaitable[object]) -> None:
        try:
            await answering
        except MasError as refused:
            await self._answer_with_error(message, refused)

    async def _answer_with_error(self, message: AgentMessage, error: BaseException) -> MasError | None:
        """Tell the asker what went wrong; what kept it from being told, if anything did."""
        try:
            await self._reply(
                message, f"{message.message_type}.error", error_payload(error), final=True, error=True
            )
        except MasError as refused:
            log.error(
                "reply.refused",
                agent=message.target_id,
                message_id=message.message_id,
                trace_id=self._client.tracing.context_of(message).trace_id,
                reason=refused.message,
            )
            return refused
        return None

    async def _settle_alone(self, held: Held, turn: Turn, mode: DeliveryMode) -> bool:
        """Settle a message with the state of its handler, or a mark; False when another changed the state."""
        mark = ""
        if held.delivery is not None and mode is DeliveryMode.EXACTLY_ONCE:
            mark = _mark(held.delivery)
        settlement = Settlement(
            held.lane,
            held.entry,
            held.total,
            (held.position,),
            turn.revision if turn.has_changed_state else None,
            self._keeper.encoded(turn) if turn.has_changed_state else b"",
            mark,
        )
        result = await self._settler.settle_alone(settlement)
        if result == STATE_CHANGED:
            return False
        if turn.has_changed_state:
            if result > 0:
                self._keeper.committed(turn)
            elif result == SETTLED_ELSEWHERE:
                # If it was we, and the answer was lost, the store has our state and this process an older one.
                with contextlib.suppress(MasError):
                    await self._keeper.load()
        self._inbox.release(held.lane, held.entry, 1)
        return True

    async def _fail(self, held: Held, message: AgentMessage, error: BaseException) -> str:
        """Answer or hand back a message whose handler failed; the code of why."""
        expected = isinstance(error, InvalidPayload | UsageError)
        if not expected:
            log.error(
                "handler.failed",
                agent=message.target_id,
                type=message.message_type,
                message_id=message.message_id,
                trace_id=self._client.tracing.context_of(message).trace_id,
                trace=trace_of(error),
                **hint_of(error),
            )
        code = error.code if isinstance(error, MasError) else "handler_failed"
        is_spent = self._mode(held) is DeliveryMode.AT_MOST_ONCE
        # Whether a reply arrived is unknown without a gateway; a second run gives the same one.
        if message.expects_reply and not isinstance(error, GatewayDown | StoreUnreachable):
            refused = await self._answer_with_error(message, error)
            if refused is not None and refused.retryable:
                await self._returns.hand_back(
                    held, refused.code, refused.message, retryable=True, is_spent=is_spent
                )
                return code
            self._settler.settle(held.lane, held.entry, held.total, held.position)
            self._returns.tell_outcome(message, code)
            return code
        reason = error.message if isinstance(error, MasError) else type(error).__name__
        policy = self._retries.of(message.message_type)
        retryable = policy.retries(error) if policy is not None else not expected
        await self._returns.hand_back(
            held, code, reason, retryable=retryable, wait_s=wait_of(error), is_spent=is_spent
        )
        return code

    async def _settled(self) -> None:
        await self._settler.flush()

    async def _give_up(self, held: Held) -> None:
        """Another instance has begun it and died."""
        if self._mode(held) is DeliveryMode.AT_MOST_ONCE:
            reason = "an instance that ended before it was done may have begun it"
            await self._returns.hand_back(held, "interrupted", reason, retryable=False, is_spent=True)
        else:
            # It comes again after a while like any that failed, so that it does not take down one after the other.
            reason = "the instance that started it died before it was done"
            await self._returns.hand_back(held, POISON, reason, retryable=True)

    async def _reply(
        self, message: AgentMessage, message_type: str, data: object, *, final: bool, error: bool
    ) -> Receipt | None:
        turn = current_turn.get()
        if turn is not None and turn.message is message and final:
            turn.has_replied = True
        if not final and turn is not None:
            reply_id = turn.next_message_id()
        else:
            ordinal = ERROR_ORDINAL if error else REPLY_ORDINAL
            reply_id = derived_message_id(message.message_id, message.target_id, ordinal)
        flags = Flag.IS_REPLY | Flag.CHOSEN_ID
        if not final:
            flags |= Flag.PARTIAL
        if error:
            flags |= Flag.ERROR
        envelope = Envelope(
            reply_id,
            message.sender_id,
            message_type,
            payload_bytes(data),
            self._client.now_ms(),
            priority=message.priority,
            flags=flags,
            correlation=message.message_id,
            capsule=message.capsule,
        )
        if turn is not None and turn.holds(final=final, error=error):
            turn.answers.append((message, envelope))
            return None
        return await self._send(message, envelope)

    async def _send(self, message: AgentMessage, reply: Envelope) -> Receipt:
        self._client.tracing.put_reply(reply, message)
        return await self._client.submit(reply, encrypt=message.encrypted)


def _mark(delivery: Delivery) -> str:
    """What names a message that may take effect once: ids are of their senders' choosing."""
    return f"{delivery.sender} {delivery.id}"
