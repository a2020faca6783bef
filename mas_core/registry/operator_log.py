"""The log of what operators do: an entry before each write and one after it.

The gateway that owns partition 0 takes the entries into the audit chain. A write begins only once its first
entry is stored, so nothing is changed that leaves no trace; without a gateway entries wait in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import inspect
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

import msgspec

from mas_core.base.ids import new_message_id
from mas_core.base.logs import get_logger
from mas_core.errors import AuditUnavailable, InternalError, MasError
from mas_core.model.operator_entry import (
    MAC_PURPOSE,
    MAX_CHANGE_BYTES,
    OperatorEntry,
    Phase,
)
from mas_core.registry.signed import Macs
from mas_core.store.records import Records

log = get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

MAX_SUBJECTS = 100
MAX_TEXT = 2000
"""Characters kept of a command line, a reason or an error."""
CLOCK_HOLDS_S = 1.0
LAST_WORDS_S = 2.0
"""How long an act that is interrupted may take to say so."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, from where, and why."""

    actor: str
    host: str = ""
    context: str = ""
    command: str = ""
    """The command line, without secrets."""
    reason: str = ""


def this_operator() -> Operator:
    """Whoever runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    host = socket.gethostname()
    return Operator(f"{user}@{host}", host)


@dataclass(frozen=True, slots=True)
class _Act:
    action: str
    subjects: tuple[str, ...]
    operation: str
    reason: str


@dataclass(slots=True)
class Change:
    """What a write turned out to change; it goes into the entry that ends it."""

    facts: dict[str, object] = field(default_factory=dict)


_act: ContextVar[_Act | None] = ContextVar("operator_act", default=None)


@contextmanager
def acting(action: str, *subjects: str, reason: str = "") -> Iterator[None]:
    """Name what is done by the writes inside; the outermost name counts.

    Args:
        action: Such as `token.rotate`.
        subjects: Agents or things that it is about.
        reason: Why, in words, where the operator's own is not given.
    """
    if _act.get() is not None:
        yield
        return
    token = _act.set(_Act(action, subjects[:MAX_SUBJECTS], new_message_id(), reason))
    try:
        yield
    finally:
        _act.reset(token)


def named(
    action: str, subject: str = ""
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Name what an asynchronous function does, for the writes inside it, as `acting` does.

    Args:
        action: May name parameters of the function, as in `standing.{kind}`.
        subject: The parameter that says what it is about: one name or several.
    """

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        async def recorded(*arguments: P.args, **options: P.kwargs) -> R:
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            about = bound.arguments.get(subject) or ()
            subjects = (about,) if isinstance(about, str) else tuple(about)
            reason = bound.arguments.get("reason", "")
            with acting(action.format_map(bound.arguments), *subjects, reason=reason):
                return await function(*arguments, **options)

        return recorded

    return decorate


def owner_of(macs: Macs) -> Callable[[bytes], bytes]:
    """What vouches for entries of whoever has the gateway's keys whole."""
    return functools.partial(macs.mac, MAC_PURPOSE)


class OperatorLog:
    """Writes entries about what one operator does.

    Args:
        records: The store's records.
        vouch: Makes what proves who wrote an entry: its signature, or the MAC of the owner (`owner_of`); None
            where neither can be had, so that entries are recorded as unauthenticated.
        operator: Who acts.
        admit: Given what is to be written; what it raises keeps the write from beginning.
    """

    def __init__(
        self,
        records: Records,
        vouch: Callable[[bytes], bytes] | None,
        operator: Operator,
        admit: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._records = records
        self._vouch = vouch
        self._admit = admit
        self.operator = operator
        self._clock = (0, float("-inf"))

    def explain(self, *, context: str = "", command: str = "", reason: str = "") -> None:
        """Say how it came to what follows."""
        self.operator = replace(self.operator, context=context, command=command, reason=reason)

    @asynccontextmanager
    async def writing(
        self,
        write: str,
        *subjects: str,
        change: Mapping[str, object] | None = None,
        is_open: bool = True,
    ) -> AsyncIterator[Change]:
        """Record a write: that it begins, and how it ended.

        Args:
            write: What is written, such as `registry`.
            subjects: What it is about, where the act does not say.
            change: What is to be changed, as far as it is known before.
            is_open: Whether it needs to know where everything is, so not while partitions are being changed.

        Raises:
            Conflict: The number of partitions is being changed.
            Refused: The role of the operator does not permit it.
            AuditUnavailable: The beginning cannot be recorded, so nothing may be written.
        """
        self._admit(write)
        act = _act.get() or _Act(f"{write}.write", subjects, new_message_id(), "")
        act = replace(act, subjects=(act.subjects or subjects)[:MAX_SUBJECTS])
        if is_open:
            await self._records.follow_layout()
        begun = dict(change or {})
        await self._add(act, "begun", write, begun)
        result = Change()
        try:
            yield result
        except BaseException as error:
            await self._note_failure(act, write, error)
            raise
        try:
            await self._add(act, "done", write, result.facts or begun)
        except MasError as error:
            # It is done, and its beginning is recorded; to call it failed would be wrong.
            log.error("operator.end_unrecorded", action=act.action, reason=error.message)

    async def asked(self, action: str, question: Mapping[str, object] | None = None) -> None:
        """Record a question to the audit, before it is answered.

        Raises:
            AuditUnavailable: It cannot be recorded, so it must not be answered.
        """
        act = _act.get() or _Act(action, (), new_message_id(), "")
        await self._add(act, "asked", "", dict(question or {}))

    async def denied(self, action: str, why: str) -> None:
        """Record that somebody was kept from something, as far as that can be recorded.

        Args:
            action: What was to be done, such as `rbac.allow`.
            why: Why not, in words.
        """
        with contextlib.suppress(MasError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._add(_Act(action, (), new_message_id(), ""), "denied", "", {}, error=why)

    async def _note_failure(self, act: _Act, write: str, error: BaseException) -> None:
        words = error.message if isinstance(error, MasError) else type(error).__name__
        with contextlib.suppress(MasError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._add(act, "failed", write, {}, error=words)

    async def _add(
        self, act: _Act, phase: Phase, write: str, change: dict[str, object], error: str = ""
    ) -> None:
        operator = self.operator
        entry = OperatorEntry(
            new_message_id(),
            act.operation,
            phase,
            await self._now(),
            act.action,
            operator.actor,
            write,
            operator.host,
            operator.context,
            _short(operator.command),
            _short(operator.reason or act.reason),
            act.subjects,
            _bounded(change),
            _short(error),
        )
        text = msgspec.json.encode(entry)
        proof = self._vouch(text) if self._vouch is not None else b""
        try:
            await self._records.add_operator_entry(text, proof)
        except InternalError as refused:
            raise AuditUnavailable(
                f"what operators do cannot be recorded, so {act.action} is not carried out",
                hint=("mas gateway status", "mas audit verify"),
                because=refused.message,
            ) from refused

    async def _now(self) -> int:
        """The server's clock, carried on by our own for a moment."""
        told, at = self._clock
        since = time.monotonic() - at
        if since > CLOCK_HOLDS_S:
            self._clock = told, at = await self._records.time_ms(), time.monotonic()
            since = 0.0
        return told + int(since * 1000)


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _bounded(change: dict[str, object]) -> dict[str, object]:
    """The change, or its outline where it would be too long for a record."""
    size = len(msgspec.json.encode(change))
    if size <= MAX_CHANGE_BYTES:
        return change
    outline: dict[str, object] = {}
    for name, value in change.items():
        is_short = len(msgspec.json.encode(value)) <= 200
        outline[name] = (
            value if is_short else f"{len(value)} items" if isinstance(value, list | dict) else "…"
        )
    return {**dict(list(outline.items())[:50]), "cut": size}
