"""Calls the handler that a message is for, and ends it when it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, cast

from mas_core.agent.dispatch import NO_ANSWER
from mas_core.agent.handlers import Handler
from mas_core.agent.time_limits import NO_LIMIT, TimeLimits
from mas_core.errors import HandlerTimedOut
from mas_core.model.message import AgentMessage


class TakesMessages(Protocol):
    """Somebody with handlers."""

    async def on_message(self, message: AgentMessage) -> object:
        """Takes messages of types that have no handler."""


class HandlerCalls:
    """The handlers of one agent.

    Args:
        agent: Has them as methods.
        handlers: Which method is for which message type.
        timeout: Seconds until a handler is ended that has no limit of its own; 0 for never.
        others: Handlers that are for other things than messages of a type.
    """

    def __init__(
        self,
        agent: TakesMessages,
        handlers: Mapping[str, Handler],
        timeout: float,
        others: Iterable[Handler] = (),
    ) -> None:
        self._agent = agent
        self._handlers = handlers
        self._timeout = timeout or NO_LIMIT
        self._timeouts = {name: self._limit_of(handler) for name, handler in handlers.items()}
        others_limits = [self._limit_of(handler) for handler in others]
        self._time_limits = TimeLimits((self._timeout, *self._timeouts.values(), *others_limits))

    def start(self) -> None:
        """Start to look at the time."""
        self._time_limits.start()

    async def stop(self) -> None:
        """No more handlers are called."""
        await self._time_limits.stop()

    def call(self, message: AgentMessage) -> Awaitable[object]:
        """What the handler of a message returns; NO_ANSWER where none is to be given.

        Raises:
            HandlerTimedOut: It took too long.
        """
        message_type = message.message_type
        limit = self._timeouts.get(message_type, self._timeout)
        return self._call(self._handlers.get(message_type), message, limit)

    def call_handler(self, handler: Handler, message: AgentMessage) -> Awaitable[object]:
        """What this very handler returns; raises as `call`."""
        return self._call(handler, message, self._limit_of(handler))

    def _limit_of(self, handler: Handler) -> float:
        return self._timeout if handler.timeout is None else handler.timeout or NO_LIMIT

    async def _call(self, handler: Handler | None, message: AgentMessage, limit: float) -> object:
        worker = cast("asyncio.Task[Any]", asyncio.current_task())
        self._time_limits.begin(worker, limit)
        try:
            if handler is None:
                result = await self._agent.on_message(message)
                return NO_ANSWER if result is None else result
            payload = handler.payload(message)
            method = cast("Callable[..., Awaitable[object]]", getattr(self._agent, handler.name))
            return await (method(message, payload) if handler.takes_payload else method(message))
        except asyncio.CancelledError:
            if not self._time_limits.end(worker):
                raise
            raise HandlerTimedOut(
                f"the handler of {message.message_type} did not end within {limit:g} s", seconds=limit
            ) from None
        finally:
            self._time_limits.end(worker)
