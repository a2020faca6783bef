"""Files that records must be in: nothing is delivered without, and it heals by itself."""

from __future__ import annotations

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.audit.verify import ChainVerifier
from mas_core.errors import AuditUnavailable


async def test_s31_nothing_is_delivered_while_a_required_file_takes_nothing(server_url, tmp_path):
    """Row S31: sends fail with audit_unavailable, and go on once the file takes records again."""
    folder = tmp_path / "sink"
    path = folder / "audit.jsonl"
    async with live_system(
        server_url,
        agents=["a", "b"],
        allow=[("a", "b")],
        audit={"files": [str(path)], "require": "all"},
    ) as live:
        receiver = await live.run("b")
        client = await live.client("a")
        await client.send("b", "note.add", {"n": 1})
        await until(lambda: receiver.numbers == [1])

        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        with pytest.raises(AuditUnavailable):
            await client.send("b", "note.add", {"n": 2})
        assert receiver.numbers == [1]

        async def alarmed() -> bool:
            gateways = await live.system.gateways()
            return any(str(path) in alarm for gateway in gateways for alarm in gateway.alarms)

        await until(alarmed)

        folder.unlink()
        (tmp_path / "away").rename(folder)

        async def sent() -> bool:
            try:
                await client.send("b", "note.add", {"n": 3})
            except AuditUnavailable:
                return False
            return True

        while not await sent():
            pass
        await until(lambda: receiver.numbers == [1, 3])
        assert await live.audit_holds()
        stored = [text async for block in live.store.records.audit_blocks(0) for text in block.records()]
        held = path.read_bytes().splitlines()
        verifier = ChainVerifier()
        for seq, line in enumerate(held, 1):
            verifier.feed(seq, line)
        assert verifier.finish().ok
        assert held[: len(stored)] == stored


async def test_any_goes_on_with_one_file(server_url, tmp_path):
    """The other one is an alarm, and is made up for later."""
    (tmp_path / "broken").write_text("in the way")
    files = [str(tmp_path / "good.jsonl"), str(tmp_path / "broken" / "bad.jsonl")]
    async with live_system(
        server_url, agents=["a", "b"], allow=[("a", "b")], audit={"files": files, "require": "any"}
    ) as live:
        receiver = await live.run("b")
        client = await live.client("a")
        await client.send("b", "note.add", {"n": 1})
        await until(lambda: receiver.numbers == [1])

        (tmp_path / "broken").unlink()
        await client.send("b", "note.add", {"n": 2})
        await until(lambda: receiver.numbers == [1, 2])

        assert (tmp_path / "good.jsonl").read_bytes() in (tmp_path / "broken" / "bad.jsonl").read_bytes() or (
            (tmp_path / "broken" / "bad.jsonl").read_bytes() in (tmp_path / "good.jsonl").read_bytes()
        )
