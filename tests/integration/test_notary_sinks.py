"""The notary feeds the files that are set."""

from __future__ import annotations

import asyncio

from support.notaries import evidence_of, until
from support.systems import live_system

from mas_core.audit.notary import Notary
from mas_core.audit.sinks.daily_files import DailyFiles
from mas_core.audit.sinks.feeder import followers_of
from mas_core.settings.gateway_settings import AuditSettings


async def test_files_follow_the_audit_and_catch_up(server_url, tmp_path):
    """Each record once and as it is stored, also of the time in which a file could not be written."""
    path = tmp_path / "copies" / "audit.jsonl"
    settings = AuditSettings(files=[path], daily=tmp_path / "logs", checkpoint_s=0.2)
    async with live_system(server_url, agents=["a", "b"], allow=[("a", "b")]) as live:
        keys_dir = live.system.target.keys_dir
        assert keys_dir is not None
        client, _ = await live.client("a"), await live.run("b")

        async def stored() -> list[bytes]:
            blocks = live.store.records.audit_blocks(0)
            return [text async for block in blocks for text in block.records()]

        async def is_whole() -> bool:
            return path.exists() and path.read_bytes().splitlines() == await stored()

        def entries() -> int:
            return sum(item.entries for item in DailyFiles(tmp_path / "logs").statistics())

        folder = evidence_of(live)
        notary = Notary(live.store, folder, keys_dir, settings, followers=followers_of(settings, folder, 1))
        stop = asyncio.Event()
        running = asyncio.create_task(notary.run(stop))
        try:
            await client.send("b", "note.add", {"n": 1})
            await until(is_whole)
            path.parent.rename(tmp_path / "away")
            path.parent.write_text("in the way")
            await client.send("b", "note.add", {"n": 2})
            await until(lambda: any(live.folder.rglob("open.jsonl")) and entries() >= 4)
            path.parent.unlink()
            (tmp_path / "away").rename(path.parent)
            await client.send("b", "note.add", {"n": 3})
            await until(is_whole)
            assert entries() == len(await stored())
        finally:
            stop.set()
            await running
