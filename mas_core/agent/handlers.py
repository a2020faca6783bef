"""Handlers: which method of an agent takes which message type, and what its payload must look like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from mas_core.agent.marks import Marks, fitted, takes_content
from mas_core.base.ids import check_message_type
from mas_core.errors import UsageError
from mas_core.model.message import AgentMessage, TypedPayload
from mas_core.resilience.retry_policy import RetryPolicy

HandlerMethod = TypeVar("HandlerMethod", bound=Callable[..., Awaitable[object]])


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler of an agent class."""

    message_type: str
    name: str
    model: type[BaseModel] | None
    takes_payload: bool
    retry: RetryPolicy | None = None
    """When a message comes again that it failed on; None leaves that to the agent."""
    timeout: float | None = None
    """Seconds until it is ended; 0 for never, None leaves that to the agent."""

    def payload(self, message: AgentMessage) -> object:
        """The payload as the handler wants it.

        Raises:
            InvalidPayload: It does not fit the handler's model; says where, never what was found there.
        """
        if self.model is None:
            return message.data
        return fitted(self.model, message.data, "payload", f"the payload does not fit {self.message_type}")


_MARKS: Marks[Handler] = Marks("_mas_handles")


def on(
    message_type: str | type[TypedPayload],
    *,
    model: type[BaseModel] | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | None = None,
) -> Callable[[HandlerMethod], HandlerMethod]:
    """Mark a method as the handler of a message type; see `Agent.on`."""
    if not isinstance(message_type, str):
        if not issubclass(message_type, BaseModel):
            raise UsageError(f"{message_type.__name__} is no model of a payload")
        model = message_type
        message_type = model.TYPE
    check_message_type(message_type)

    def mark(method: HandlerMethod) -> HandlerMethod:
        takes_payload = takes_content(method, message_type)
        _MARKS.put(method, Handler(message_type, method.__name__, model, takes_payload, retry, timeout))
        return method

    return mark


def handlers_of(kind: type[Any]) -> dict[str, Handler]:
    """The handlers of an agent class by message type; those of subclasses win."""
    return {handler.message_type: replace(handler, name=name) for name, handler in _MARKS.of(kind)}
