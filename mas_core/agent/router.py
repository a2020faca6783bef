"""Sends to a capability or a route: asks the gateway who may get it, chooses one, and turns to the next once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import msgspec

from mas_core.agent.choosing import Memory, in_order, sticky_key
from mas_core.base.ids import derived_message_id
from mas_core.errors import (
    AgentNotFound,
    Backpressure,
    CircuitOpen,
    MasError,
    NoResponder,
    Quarantined,
    RateLimited,
    RouteNotFound,
)
from mas_core.model.message import AgentMessage, TypedPayload, payload_bytes
from mas_core.model.routing import ANY_ROUTE, ROUTE, Candidates, Way

TOLD_FOR_S: Final = 1.0
"""So long an answer of the gateway about agents and their load is taken for true."""
MAX_REMEMBERED: Final = 256

_PASSED_ON = (AgentNotFound, Backpressure, CircuitOpen, NoResponder, Quarantined)
"""Refusals after which the next agent is tried: none of them got the message."""

Sent = TypeVar("Sent")


class Asking(Protocol):
    """Asks the gateway."""

    def __call__(self, target: str, message_type: str, *, expects_reply: bool) -> Awaitable[AgentMessage]:
        """Who may get a message of this type that is sent to this target."""


class Router:
    """Chooses agents for one sender, which remembers whom it gave what.

    Args:
        sender: Who sends.
        ask: Asks the gateway.
    """

    def __init__(self, sender: str, ask: Asking) -> None:
        self._sender = sender
        self._ask = ask
        self._told: dict[tuple[str, str, bool], tuple[float, Candidates]] = {}
        self._memories: dict[str, Memory] = {}
        self._lock = asyncio.Lock()
        self._chance = random.SystemRandom()

    async def ways(
        self, target: str, message_type: str, data: object = None, *, expects_reply: bool = False
    ) -> tuple[Candidates, list[Way]]:
        """The agents that a message may go to, the best one first.

        Args:
            target: `capability:NAME`, `route:NAME` or `route:*`.
            message_type: Type of the message.
            data: Its payload, which may hold the key that sticks to an agent.
            expects_reply: Whether it is a request.

        Raises:
            RouteNotFound: No rule speaks of it.
            GatewayDown: No gateway answers.
        """
        found = await self._candidates(target, message_type, expects_reply=expects_reply)
        if found.rule is None:
            what = "no route is" if target == ANY_ROUTE else f"there is no route {target.removeprefix(ROUTE)}"
            raise RouteNotFound(f"{what} for {message_type}", hint="mas route list", target=target)
        payload = msgspec.json.decode(payload_bytes(data)) if found.rule.key else {}
        key = sticky_key(found.rule, self._sender, payload)
        return found, in_order(found.rule, found.agents, self._memory(target), key, self._chance)

    async def carry(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object,
        message_id: str,
        send: Callable[[str, str], Awaitable[Sent]],
        *,
        expects_reply: bool = False,
    ) -> Sent:
        """Send a message to the best agent, and where that one cannot take it, once to the next best.

        Args:
            target: As for `ways`.
            message_type: Type of the message.
            data: Its payload.
            message_id: An id that the sender chose, or nothing.
            send: Sends it to an agent, under an id.
            expects_reply: Whether it is a request.

        Raises:
            RouteNotFound: No rule speaks of it.
            NoResponder: Nobody of those runs that it may go to.
        """
        if not isinstance(message_type, str):
            message_type, data = message_type.TYPE, message_type
        _, ways = await self.ways(target, message_type, data, expects_reply=expects_reply)
        if not ways:
            raise nobody(target, message_type, self._sender)
        first, *others = (way.agent for way in ways)
        memory = self._memory(target)
        memory.note(first)
        try:
            return await send(first, message_id)
        except _PASSED_ON:
            self._told.clear()
            if not others:
                raise
        memory.note(others[0])
        # What was decided under the id stands for good.
        return await send(others[0], derived_message_id(message_id, others[0], 1) if message_id else "")

    async def _candidates(self, target: str, message_type: str, *, expects_reply: bool) -> Candidates:
        question = (target, message_type, expects_reply)
        async with self._lock:
            known = self._told.get(question)
            if known is not None and known[0] > time.monotonic():
                return known[1]
            try:
                reply = await self._ask(target, message_type, expects_reply=expects_reply)
            except RateLimited:
                # Better an older answer than none: the gateway judges the message in any case.
                if known is None:
                    raise
                return known[1]
            try:
                found = msgspec.convert(reply.data, Candidates)
            except msgspec.ValidationError as error:
                raise MasError(f"the gateway answered in a way that is not known here: {error}") from None
            if len(self._told) >= MAX_REMEMBERED:
                self._told.clear()
            self._told[question] = (time.monotonic() + TOLD_FOR_S, found)
            self._memory(target).given.clear()
            return found

    def _memory(self, target: str) -> Memory:
        if target not in self._memories and len(self._memories) >= MAX_REMEMBERED:
            self._memories.clear()
        return self._memories.setdefault(target, Memory())


def nobody(target: str, message_type: str, sender: str) -> NoResponder:
    """That nobody runs whom a message could go to."""
    if target.startswith(ROUTE):
        message = f"nobody runs of those that {target} sends {message_type} to and that {sender} may talk to"
        hint: tuple[str, ...] = ("mas route list", "mas discover")
    else:
        capability = target.partition(":")[2]
        message = f"nobody runs that can do {capability} and that {sender} may talk to"
        hint = (f"mas agent list --capability {capability}", "mas discover")
    return NoResponder(message, hint=hint, target=target)
