"""Contexts: whether they can be used."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mas_core.errors import MasError, Unreachable
from mas_core.ops.system import System
from mas_core.settings.contexts import ContextStore
from mas_core.settings.target import resolve_target


@dataclass(frozen=True, slots=True)
class CheckedContext:
    """What is wrong with a context, if anything."""

    name: str
    problem: str = ""
    is_unreachable: bool = False
    """Nothing is wrong but that nobody answers."""
    milliseconds: float | None = None
    """How long the server took to answer."""


async def check_context(name: str, *, connect: bool = False) -> CheckedContext:
    """Check the file of a context and, with `connect`, that its server answers.

    Raises:
        ContextNotFound: There is none of this name.
    """
    try:
        ContextStore().get(name)
        target = resolve_target(context=name) if connect else None
        if target is None:
            return CheckedContext(name)
        async with System(target) as system:
            begun = time.perf_counter()
            await system.store.connection.time_ms()
            return CheckedContext(name, milliseconds=round((time.perf_counter() - begun) * 1000, 1))
    except Unreachable as error:
        return CheckedContext(name, error.message, is_unreachable=True)
    except MasError as error:
        if error.code == "context_not_found":
            raise
        return CheckedContext(name, error.message)
