"""Reports of real systems: what happened is counted, what was spoilt is named, what is unknown is a gap."""

from __future__ import annotations

import contextlib

import msgspec
from support.systems import live_system

from mas_core.errors import PayloadBlocked
from mas_core.ops import agents
from mas_core.ops.audit_report import FORMATS, render, report
from mas_core.ops.system import System


def figure(found, measure: str, label: str):
    return next(item.value for item in found.measures[measure].figures if item.label.startswith(label))


async def test_what_happened_is_in_the_report(server_url):
    """Messages, findings by kind, changes of the policy, tokens that were made, acts of operators."""
    async with live_system(server_url, agents=["a", "b"], allow=[("a", "b")], partitions=2) as live:
        await live.run("b")
        client = await live.client("a")
        await client.send("b", "note.add", {"n": 1})
        for _ in range(2):
            with contextlib.suppress(PayloadBlocked):
                await client.send("b", "note.add", {"card": "4111 1111 1111 1111"})
        await agents.rotate_token(live.system, "a", show=True)

        found = await report(live.system, "pci,hipaa", "1d")

        assert (found.delivered, found.refused, found.is_intact) == (1, 2, True)
        assert figure(found, "cards", "findings") == 2
        assert figure(found, "cards", "of which blocked") == 2
        assert figure(found, "credentials", "made in the period") == 3
        assert figure(found, "access_changes", "changes in the period") >= 1
        assert [item.name for item in found.standards] == ["pci", "hipaa"]
        for name in FORMATS:
            assert b"4111" not in render(found, name)


async def test_a_record_that_was_changed_is_a_gap(server_url):
    """With the partition and the number of the first bad record."""
    async with live_system(server_url, agents=["a", "b"], allow=[("a", "b")]) as live:
        await live.run("b")
        client = await live.client("a")
        for number in range(3):
            await client.send("b", "note.add", {"n": number})
        blocks = [block async for block in live.store.records.audit_blocks(0)]
        victim = next(block for block in blocks if b"note.add" in block.text)
        key = live.store.keys.audit(0)
        call = live.store.connection.call
        await call("DEL", key)
        for block in blocks:
            text = block.text.replace(b"note.add", b"note.bad") if block is victim else block.text
            await call("XADD", key, block.entry, "r", text)

        found = await report(live.system, "soc2", "1d")

        assert found.is_intact is False
        bad = msgspec.json.decode(victim.records()[0])["seq"]
        assert any(f"is broken at record {bad}" in gap.text for gap in found.gaps())


async def test_without_the_keys_what_is_unknown_is_a_gap(server_url):
    """The records are still counted and their chain is still checked."""
    async with live_system(server_url, agents=["a", "b"], allow=[("a", "b")]) as live:
        await live.run("b")
        await (await live.client("a")).send("b", "note.add", {"n": 1})
        target = live.system.target.__class__(
            live.system.target.url, namespace=live.store.namespace, partitions=live.store.partitions
        )
        async with System(target) as outside:
            found = await report(outside, "hipaa", "1d")

        texts = " ".join(gap.text for gap in found.gaps())
        assert found.delivered == 1
        assert found.is_intact is True
        assert "it is not known which rules are in force" in texts
        assert "it is not known which agents are registered" in texts
        assert "no signed checkpoint is known" in texts
