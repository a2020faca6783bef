"""Which retry policy counts for the messages of an agent."""

from __future__ import annotations

from collections.abc import Mapping

from mas_core.agent.handlers import Handler
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.security.type_glob import check_glob, compile_glob


class Retries:
    """The policies of an agent.

    What is said for some types counts before what a handler says, and that before what is said for all.

    Args:
        given: A policy for all messages, or one for each pattern of types, of which the first that fits counts
            and `*` is for all others.
        handlers: The handlers by message type.

    Raises:
        UsageError: A pattern is none.
    """

    def __init__(
        self, given: RetryPolicy | Mapping[str, RetryPolicy] | None, handlers: Mapping[str, Handler]
    ) -> None:
        by_glob = {"*": given} if isinstance(given, RetryPolicy) else dict(given or {})
        self._general = by_glob.pop("*", None)
        self._by_glob = [(compile_glob(check_glob(glob)), policy) for glob, policy in by_glob.items()]
        self._handlers = handlers

    def of(self, message_type: str) -> RetryPolicy | None:
        """The policy for messages of a type; None leaves it to the gateway."""
        for fits, policy in self._by_glob:
            if fits(message_type):
                return policy
        handler = self._handlers.get(message_type)
        return (handler.retry if handler is not None else None) or self._general
