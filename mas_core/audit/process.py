"""Runs a notary as a program: from its settings to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mas_core.audit.index_keeper import IndexKeeper
from mas_core.audit.notary import Notary
from mas_core.audit.sinks.feeder import followers_of
from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, MasError, SecretUnavailable
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.store.profiles import replicas_of
from mas_core.store.store import Store

log = get_logger(__name__)

LAYOUT_LOOK_S = 2.0
"""How often a notary looks whether there are more partitions."""
EVIDENCE_NAME = "audit"
"""Of the folder in `.mas/` unless the settings name another."""


async def serve(
    target: Target,
    stop: asyncio.Event,
    *,
    folder: Path | None = None,
    is_waiting: bool = False,
    on_ready: Callable[[str], None] = lambda _notary_id: None,
    alarm: Callable[[], str] = lambda: "",
) -> None:
    """Run a notary of the system until `stop` is set; it signs what is there before it ends.

    Args:
        target: The system; its folder of keys is needed.
        stop: Ends the notary.
        folder: The evidence folder; as the project says when left out.
        is_waiting: Wait while another notary has the folder.
        on_ready: Called with the notary's name once it follows.
        alarm: Tells what is wrong with what is done beside the evidence; empty when nothing is.

    Raises:
        LockHeld: Another notary has the folder.
        SecretUnavailable: There is no folder of keys.
        ConfigurationError: No evidence folder is known, or it cannot be used.
        StoreUnreachable: The server does not answer.
    """
    if target.keys_dir is None:
        raise SecretUnavailable(
            "a notary needs its keys, and no folder of keys is known for this system",
            hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
        )
    settings = audit_settings(target)
    async with Store(
        target.url,
        namespace=target.namespace,
        partitions=target.partitions,
        replicas=replicas_of(target.profile),
    ) as store:
        if not is_waiting:
            await store.ping()
        place = folder or evidence_folder(target, settings)
        with contextlib.suppress(MasError):
            await store.layouts.follow()
        while not stop.is_set():
            # One that follows all partitions there are ends when there are more, for one that does.
            ends = asyncio.Event()
            watching = asyncio.create_task(_watch_width(store, stop, ends))
            try:
                with closing(IndexKeeper(place)) as index:
                    notary = Notary(
                        store,
                        place,
                        target.keys_dir,
                        settings,
                        followers=(index, *followers_of(settings, place, store.width)),
                        on_ready=on_ready,
                        alarm=alarm,
                    )
                    await notary.run(ends, is_waiting=is_waiting)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
    log.info("notary.stopped", notary=notary.notary_id)


async def _watch_width(store: Store, stop: asyncio.Event, ends: asyncio.Event) -> None:
    """Set `ends` when the notary is to stop, or when there are more partitions than it knows."""
    width = store.width
    while not stop.is_set() and store.width == width:
        with contextlib.suppress(MasError):
            await store.layouts.follow()
        if store.width == width:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LAYOUT_LOOK_S)
    ends.set()


def audit_settings(target: Target) -> AuditSettings:
    """The settings of the system's audit: the project's, or the environment's without one."""
    return load_config(target.project).config.gateway.audit if target.project else AuditSettings()


def evidence_folder(target: Target, settings: AuditSettings | None = None) -> Path:
    """Where the system's evidence is: as the project says, or beside the folder of keys without one.

    Raises:
        ConfigurationError: Neither is known.
    """
    if target.project is not None:
        return (settings or audit_settings(target)).folder or target.project.data_dir / EVIDENCE_NAME
    if target.keys_dir is not None:
        return target.keys_dir.parent / EVIDENCE_NAME
    raise ConfigurationError(
        "no evidence folder is known for this system", hint=("run it in the project folder", "--folder DIR")
    )
