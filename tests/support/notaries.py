"""Notaries for tests: in the test's own process, or as processes that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from support.evidence import checkpoint_keys
from support.systems import LiveSystem

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.merkle import TreeHead, leaf_hash
from mas_core.audit.notary import Notary
from mas_core.audit.notary_status import NotaryStatus
from mas_core.audit.note import Note
from mas_core.settings.gateway_settings import AuditSettings


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until `condition` gives something, awaited or not, and give that."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


def evidence_of(live: LiveSystem) -> Path:
    """The evidence folder of a live system."""
    return live.folder / ".mas" / "audit"


def new_notary(live: LiveSystem, **settings: Any) -> Notary:
    """A notary of a live system that does not run."""
    assert live.system.target.keys_dir is not None
    return Notary(
        live.store,
        evidence_of(live),
        live.system.target.keys_dir,
        AuditSettings.model_validate({"checkpoint_s": 0.2, **settings}),
    )


@asynccontextmanager
async def notary_of(live: LiveSystem, **settings: Any) -> AsyncIterator[Notary]:
    """A notary that follows a live system; it signs what is there when the block ends."""
    notary = new_notary(live, **settings)
    stop = asyncio.Event()
    running = asyncio.create_task(notary.run(stop))
    try:
        yield notary
    finally:
        stop.set()
        await running


@asynccontextmanager
async def spawned_notary(
    live: LiveSystem, *arguments: str, **settings: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A notary of a live system as a process of its own; killed when the block ends."""
    config = {
        "namespace": live.store.namespace,
        "partitions": live.store.partitions,
        "gateway": {"audit": {"checkpoint_s": 0.2, **settings}},
    }
    (live.folder / "mas.yaml").write_text(json.dumps(config))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "GATEWAY_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mas_core.audit",
        *arguments,
        cwd=live.folder,
        env={**environ, "MAS_URL": live.system.target.url},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def status_of(live: LiveSystem) -> NotaryStatus | None:
    """What the notary said last."""
    found = [
        msgspec.json.decode(text, type=NotaryStatus)
        for text in (await live.store.records.notaries()).values()
    ]
    return found[0] if found else None


async def signed_to(live: LiveSystem, seq: int, partition: int = 0) -> bool:
    """Whether a checkpoint covers so many records."""
    found = checkpoints_of(live, partition)
    return bool(found) and found[-1].size >= seq


def checkpoints_of(live: LiveSystem, partition: int = 0) -> list[Checkpoint]:
    """All checkpoints of a partition; each is signed, and names the tree and the head of its records."""
    folder = evidence_of(live)
    if not (folder / "audit.pub").exists():
        return []
    keys = checkpoint_keys(folder, live.store.namespace, live.system.target.keys_dir)
    with EvidenceReader(folder, partition) as reader:
        found = []
        for data in reader.checkpoints():
            note = Note.parse(data)
            assert keys.is_signed(note)
            found.append(Checkpoint.parse(note.text))
        return found


def check_evidence(live: LiveSystem, partition: int = 0) -> list[bytes]:
    """The records in the folder, after a look at every checkpoint: each has the root of its records."""
    with EvidenceReader(evidence_of(live), partition) as reader:
        records = [text for _, text in reader.records()]
    tree = TreeHead()
    before = 0
    for checkpoint in checkpoints_of(live, partition):
        assert before < checkpoint.size <= len(records)
        tree.extend(leaf_hash(record) for record in records[before : checkpoint.size])
        assert tree.root() == checkpoint.root
        before = checkpoint.size
    return records


async def stored_records(live: LiveSystem, partition: int = 0) -> list[bytes]:
    """The records in the store."""
    return [text async for block in live.store.records.audit_blocks(partition) for text in block.records()]
