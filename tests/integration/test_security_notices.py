"""What gateways and servers notice about security is in the audit chain, and a flood of it stays small."""

from __future__ import annotations

import asyncio

from support.systems import LiveSystem, live_system
from support.waiting import until

from mas_core.errors import StoreUnreachable
from mas_core.model.audit_record import AuditRecord
from mas_core.registry.security_notices import BURST, SecurityNotices


async def recorded(running: LiveSystem, kind: str, count: int = 1) -> list[AuditRecord]:
    """The records of a kind of notice, once there are so many."""
    found: list[AuditRecord] = []

    async def are_there() -> bool:
        found[:] = await running.audit(kind="security", type=kind)
        return len(found) >= count

    await until(are_there)
    return found


async def test_a_notice_is_in_the_chain_with_its_facts(server_url):
    """What was noticed is recorded with whom it is about, the facts and the source; nobody is the actor."""
    async with live_system(server_url, agents=["alice"]) as running:
        facts = {"serial": 7, "issuer": "CN=x\r\n\x1b[2J" + "y" * 500, "big": 2**160}
        await running.system.notices.record("certificate.refused", "alice", facts, reason="it expired")
        (record,) = await recorded(running, "certificate.refused")
        assert (record.decision, record.target, record.actor) == ("noticed", "alice", "")
        assert record.reason == "it expired"
        assert record.details["source"] == "operator"
        assert record.details["subjects"] == ["alice"]
        kept = record.details["facts"]
        assert isinstance(kept, dict)
        assert kept["serial"] == 7
        assert len(kept["issuer"]) == 300
        assert set(kept) == {"serial", "issuer", "big"}
        assert await running.audit_holds()


async def test_a_flood_of_notices_is_counted_and_drowns_no_other(server_url):
    """Beyond a burst they become one record with a count; another kind is still recorded by itself."""
    async with live_system(server_url) as running:
        notices = running.system.notices
        for number in range(BURST + 500):
            await notices.record("handshake.refused", f"10.0.0.{number}", {"n": number})
        await notices.record("acl.denied", "alice")
        await recorded(running, "acl.denied")
        await notices.close()
        found = await recorded(running, "handshake.refused", BURST + 1)
        counts = [record.details["facts"].get("count", 1) for record in found]
        assert sum(counts) == BURST + 500
        assert len(found) < BURST + 10
        assert max(len(record.details["subjects"]) for record in found) == 20


async def test_notices_wait_for_a_store_that_is_away(server_url, monkeypatch):
    """Whoever notices is not held up by the store, and what was noticed meanwhile is recorded later."""
    async with live_system(server_url) as running:
        notices = SecurityNotices(running.store.records, running.keys, "server")
        add = running.store.records.add_operator_entry

        async def fail(text: bytes, mac: bytes) -> None:
            raise StoreUnreachable("away")

        monkeypatch.setattr(running.store.records, "add_operator_entry", fail)
        await asyncio.gather(*(notices.record("certificate.refused", "mallory") for _ in range(3)))
        monkeypatch.setattr(running.store.records, "add_operator_entry", add)
        (record,) = await recorded(running, "certificate.refused")
        assert record.details["facts"] == {"count": 3}
        assert record.details["source"] == "server"
        await notices.close()


async def test_a_notice_without_the_keys_is_no_notice(server_url):
    """Who has the store alone cannot have anything recorded as noticed."""
    async with live_system(server_url) as running:
        await SecurityNotices(running.store.records, None, "server").record("acl.denied", "alice")

        async def refused() -> list[AuditRecord]:
            return await running.audit(kind="operator", decision="unauthenticated")

        await until(refused)
        assert not await running.audit(kind="security")
