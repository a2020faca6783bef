"""The door: who calls is found out once for each call of gRPC, and watched until that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio

from mas_core.errors import (
    AgentNotFound,
    MasError,
    RateLimited,
    StoreUnreachable,
    Unauthenticated,
    UsageError,
)
from mas_core.protocol.faults import fault_of
from mas_core.server.admission import Admission, Caller

ERROR_METADATA: Final = "mas-error-bin"
"""The trailing metadata that says why a call ended: an Error of frames.proto."""
MAX_STREAMS: Final = 64
"""Conversations that one agent may have at the same time."""

MAX_METADATA: Final = 4 * 1024
"""Bytes of an error that a client with the usual limits takes."""
MAX_TEXT: Final = 1_000

Context = grpc.aio.ServicerContext[Any, Any]
Result = TypeVar("Result")

_CODES: Final = (
    (AgentNotFound, grpc.StatusCode.PERMISSION_DENIED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (RateLimited, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreUnreachable, grpc.StatusCode.UNAVAILABLE),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
)


class Visit:
    """Somebody who was admitted, for as long as a call of gRPC lasts."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.leaving = asyncio.Event()
        """Set when the server is about to go away."""
        self._ended: asyncio.Future[MasError] = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        """Whether it may stay no longer."""
        return self._ended.done()

    def end(self, reason: MasError) -> None:
        """It may stay no longer."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def until_ended(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do what it came for, unless that has to end before.

        Raises:
            MasError: Why it had to.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        raise self._ended.result()


class Door:
    """Lets callers in.

    Args:
        admission: Knows who may.
        takes_bearers: Whether a bearer token counts as well.
    """

    def __init__(self, admission: Admission, *, takes_bearers: bool = False) -> None:
        self._admission = admission
        self._takes_bearers = takes_bearers
        self._visits: set[Visit] = set()
        self._finishing: set[Visit] = set()

    @asynccontextmanager
    async def admitted(self, context: Context, *, finishes: bool = False) -> AsyncIterator[Visit]:
        """Let a caller in, or end the call with the reason; errors inside end it, too.

        Args:
            context: The call.
            finishes: When the server goes away it may finish what it has begun, rather than end at once.
        """
        try:
            caller = await self._identify(context)
            if self._admission.count(caller.agent_id) >= MAX_STREAMS:
                raise RateLimited(f"{caller.agent_id} has {MAX_STREAMS} connections already")
            visit = Visit(caller)
            self._admission.enter(caller, visit.end)
            self._visits.add(visit)
            if finishes:
                self._finishing.add(visit)
            try:
                yield visit
            finally:
                self._visits.discard(visit)
                self._finishing.discard(visit)
                self._admission.leave(caller)
        except MasError as error:
            await abort(context, error)

    def close(self) -> None:
        """End every visit: the server goes away."""
        for visit in list(self._visits):
            visit.leaving.set()
            if visit not in self._finishing:
                visit.end(StoreUnreachable("the server is going away"))

    async def _identify(self, context: Context) -> Caller:
        shown = context.auth_context()
        pem = next(iter(shown.get("x509_pem_cert", ())), None)
        bearer = _bearer_of(context) if self._takes_bearers else None
        if bearer is not None or (pem is None and self._takes_bearers):
            return await self._admission.admit_bearer(bearer or "", pem, context.peer())
        if pem is not None:
            return await self._admission.admit_certificate(pem, context.peer())
        raise Unauthenticated("Authentication failed: there is no certificate")


def _bearer_of(context: Context) -> str | None:
    """The bearer token of a call (RFC 6750, section 2.1); one that cannot count where there are several."""
    found = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
    if not found:
        return None
    kind, _, token = str(found[0]).partition(" ")
    return token.strip() if len(found) == 1 and kind.lower() == "bearer" else ""


async def abort(context: Context, error: MasError, code: grpc.StatusCode | None = None) -> NoReturn:
    """End a call of gRPC with an error of ours.

    Args:
        context: The call.
        error: Why.
        code: The status; that of somebody who is not let in when left out.
    """
    if code is None:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    fault = fault_of(error)
    if fault.ByteSize() > MAX_METADATA:
        fault.details = ""
        fault.message = fault.message[:MAX_TEXT]
        del fault.hints[4:]
    await context.abort(
        code,
        f"{error.code}: {error.message}"[:MAX_TEXT],
        trailing_metadata=((ERROR_METADATA, fault.SerializeToString()),),
    )
    raise AssertionError  # abort does not return
