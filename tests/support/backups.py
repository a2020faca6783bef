"""Backups in tests: systems that lose their store, and files that are not what was written."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from support.systems import LiveSystem

from mas_core.ops.backup.backup_file import MAC_NAME, MANIFEST_NAME, BackupReader, BackupWriter
from mas_core.ops.backup.contents import FORMAT, PARTS, VERSION, Manifest, PartitionFacts
from mas_core.ops.backup.plan import plan
from mas_core.ops.backup.restore import Restored, restore
from mas_core.registry.signed import Macs
from mas_core.store.connection import Pipeline


async def lose_store(live: LiveSystem) -> None:
    """End the gateways and take everything of the system out of the server."""
    await live.gateway_stack.aclose()
    live.gateways.clear()
    connection = live.store.connection
    while True:
        pipeline = Pipeline()
        for keys in (await connection.run_everywhere("KEYS", f"{live.store.namespace}:*")).values():
            for key in keys:
                pipeline.add("DEL", key)
        if not pipeline.commands:
            return
        await connection.run(pipeline)


async def put_back(live: LiveSystem, path: Path, **options: Any) -> Restored:
    """Restore a backup, as the command does."""
    with BackupReader(path) as reader:
        return await restore(live.system, reader, await plan(live.system, reader), **options)


def members_of(path: Path) -> dict[str, bytes]:
    """What is in the file of a backup."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip archive of these."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def remade(path: Path, to: Path, macs: Macs, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A copy whose manifest was edited by somebody who has the gateway's key."""
    members = members_of(path)
    manifest = msgspec.json.decode(members[MANIFEST_NAME])
    edit(manifest)
    members[MANIFEST_NAME] = text = msgspec.json.encode(manifest)
    members[MAC_NAME] = macs.mac("backup", text)
    return write_members(to, members)


def write_empty_backup(path: Path, macs: Macs, key_id: str, **fields: Any) -> Path:
    """A backup of a system that holds nothing."""
    with path.open("wb") as file, BackupWriter(file) as writer:
        for part in PARTS:
            with writer.part(part):
                pass
        manifest = Manifest(
            FORMAT, VERSION, "b1", "mas", (PartitionFacts(0, "", 1),), key_id, 1, 2, "somebody@host",
            dict(writer.parts),
        )  # fmt: skip
        writer.finish(msgspec.structs.replace(manifest, **fields), macs)
    return path
