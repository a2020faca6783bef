"""Questions to the audit are themselves recorded, before they are answered."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from mas_core.base.logs import get_logger
from mas_core.errors import AuditUnavailable
from mas_core.ops.system import System
from mas_core.registry.operator_log import OperatorLog

log = get_logger(__name__)

PROOFS: Final = frozenset({"audit.verify", "audit.prove"})
"""What an auditor must be able to ask of a store that somebody has spoilt."""

FOLLOWING: Final = frozenset({"audit.tail"})
"""What goes on with new records: its own question is to be one of the old ones, if a gateway runs."""
RECORDED_WITHIN_S: Final = 0.3
_LOOK_AGAIN_S: Final = 0.005


class _Asks(Protocol):
    operator_log: OperatorLog


A = TypeVar("A", bound=_Asks)
P = ParamSpec("P")
R = TypeVar("R")


def noted(
    action: str,
) -> Callable[
    [Callable[Concatenate[A, P], Awaitable[R]]], Callable[Concatenate[A, P], Coroutine[Any, Any, R]]
]:
    """Record each call of a method that answers from the audit, with its arguments."""

    def decorate(
        method: Callable[Concatenate[A, P], Awaitable[R]],
    ) -> Callable[Concatenate[A, P], Coroutine[Any, Any, R]]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        async def answered(self: A, /, *arguments: P.args, **options: P.kwargs) -> R:
            given = dict(signature.bind(self, *arguments, **options).arguments)
            given.pop("self")
            await self.operator_log.asked(action, given)
            return await method(self, *arguments, **options)

        return answered

    return decorate


async def note_question(system: System, action: str, question: Mapping[str, object] | None = None) -> None:
    """Record that somebody asks the audit something.

    Args:
        system: The system.
        action: What is asked, such as `audit.list`.
        question: The filter, where the command line does not say it.

    Raises:
        AuditUnavailable: It cannot be recorded, so it must not be answered; a proof may be asked for all the same.
        Refused: The role of the operator does not permit it.
    """
    system.access.require("evidence" if action.startswith("audit.") else "follow", f"to ask for {action}")
    try:
        await system.operator_log.asked(action, question)
    except AuditUnavailable as error:
        if action not in PROOFS:
            raise
        log.warning("audit.question_unrecorded", action=action, reason=error.message)
        return
    if action in FOLLOWING:
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while await system.store.records.unrecorded_operator_entries():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
