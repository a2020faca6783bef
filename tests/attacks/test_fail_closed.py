"""When a control is down nothing passes, everybody is told, and it heals by itself (S31)."""

import re
from pathlib import Path

import pytest
from support.servers import embedded_server
from support.systems import live_system
from support.waiting import until

from mas_core.errors import AuditUnavailable, Forbidden, GatewayDown, MasError, Unscannable
from mas_core.gateway.stages.authorise import Authorise
from mas_core.gateway.stages.check_expiry import CheckExpiry
from mas_core.gateway.stages.check_permit import CheckPermit
from mas_core.gateway.stages.find_target import FindTarget
from mas_core.gateway.stages.limit_rate import LimitRate
from mas_core.gateway.stages.scan_payload import ScanPayload
from mas_core.ops.gateways import gateways_status
from mas_core.ops.status import status

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def system(server_url):
    """alice may talk to bob."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


async def problems(system):
    return [item.message for item in (await status(system.system)).problems]


@pytest.mark.parametrize(
    "stage",
    [CheckExpiry, FindTarget, CheckPermit, Authorise, LimitRate, ScanPayload],
    ids=lambda kind: kind.name,
)
async def test_a_stage_that_breaks_refuses_and_is_logged(system, stage, monkeypatch, caplog):
    """Whatever it raises: the message is refused and recorded, and the gateway goes on."""

    def broken(self, *_):
        raise ZeroDivisionError

    bob, alice = await system.run("bob"), await system.run("alice")
    for name in ("check", "sift"):
        if hasattr(stage, name):
            monkeypatch.setattr(stage, name, broken)
    with pytest.raises(Unscannable, match=f"the stage {stage.name} failed"):
        await alice.send("bob", "x", {"n": 1})
    monkeypatch.undo()
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: bob.messages)

    assert bob.numbers == [2]
    assert len(await system.audit(decision="unscannable")) == 1
    assert "stage.failed" in caplog.text


async def test_a_policy_that_cannot_be_read_keeps_the_last_good_one_and_raises_an_alarm(system):
    """Signed by us and not understood, as after a downgrade: seen in `mas status`, and gone when it is mended."""
    alice = await system.run("alice")
    fields = await system.store.records.policy()
    revision = int(fields["revision"])
    text = b'{"revision":99,"from_the_future":true}'
    await system.store.records.put_policy(revision, revision + 1, text, system.keys.mac("policy", text))
    await system.store.records.raise_revision()

    assert (await alice.send("bob", "x", {})).is_delivered
    with pytest.raises(Forbidden):
        await alice.send("alice", "x", {})

    async def is_told():
        found = await problems(system)
        return any("policy" in text and "last good" in text for text in found)

    await until(is_told)
    await system.store.records.put_policy(
        revision + 1, revision + 2, fields["document"], system.keys.mac("policy", fields["document"])
    )
    await system.store.records.raise_revision()

    async def is_quiet():
        return not any("last good" in text for text in await problems(system))

    await until(is_quiet)


async def test_without_any_policy_nothing_is_allowed_and_the_start_says_so(server_url, caplog):
    """Loudly: in the log and in `mas status`."""
    async with live_system(server_url, agents=["alice", "bob"], limit=None) as system:
        alice = await system.run("alice")

        with pytest.raises(Forbidden):
            await alice.send("bob", "x", {})

        assert "policy.missing" in caplog.text

        async def is_told():
            return any("no policy" in text for text in await problems(system))

        await until(is_told)


async def test_s31_a_blocked_audit_stops_deliveries_and_heals(system):
    """Somebody has put something else in its place: everything is refused until it is mended, and told."""
    bob, alice = await system.run("bob"), await system.run("alice")
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)
    key = system.store.keys.audit(0)
    await system.store.connection.call("RENAME", key, f"{key}:hidden")
    await system.store.connection.call("SET", key, "no stream")

    with pytest.raises(MasError) as caught:
        await alice._client.send("bob", "x", {"n": 2}, timeout=3)
    told = await until(lambda: _alarm(system))
    shown = await gateways_status(system.system)

    assert caught.value.code == "audit_unavailable"
    assert bob.numbers == [1]
    assert told == "the audit of partition 0 takes no records: everything is refused"
    assert shown.gateways[0].alarms == (told,)
    await system.store.connection.call("RENAME", f"{key}:hidden", key)
    receipt = await until(lambda: _sent(alice))
    assert receipt.is_delivered
    assert await system.audit_holds()


async def test_s31_an_audit_that_was_pushed_to_the_end_of_time_can_be_mended(system):
    """By the commands of the document; meanwhile nothing passes, and the chain holds afterwards."""
    bob, alice = await system.run("bob"), await system.run("alice")
    await alice.send("bob", "x", {"n": 1})
    key, call = system.store.keys.audit(0), system.store.connection.call
    end = f"{2**64 - 2}-0"
    await call("XADD", key, end, "r", b"junk")
    with pytest.raises(AuditUnavailable):
        await alice._client.send("bob", "x", {"n": 2}, timeout=3)

    script = re.search(r'EVAL "(.+?)"', (ROOT / "docs" / "messages.md").read_text())[1]
    last = (await call("HGET", system.store.keys.meta(0), "audit_seq")).decode()
    await call("RENAME", key, f"{key}:kept")
    await call("EVAL", script, 2, f"{key}:kept", key, f"{last}-0")
    receipt = await until(lambda: _sent(alice))
    await until(lambda: 3 in bob.numbers)

    assert receipt.is_delivered
    assert 2 not in bob.numbers
    assert await system.audit_holds()


async def _alarm(system):
    return next((text for text in await problems(system) if "audit" in text), "")


async def _sent(agent):
    try:
        return await agent._client.send("bob", "x", {"n": 3}, timeout=2)
    except (MasError, GatewayDown):
        return None


async def test_s31_a_full_store_delivers_nothing_and_heals():
    """Without room for the record there is no delivery."""
    async with (
        embedded_server() as server,
        live_system(server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system,
    ):
        bob, alice = await system.run("bob"), await system.run("alice")
        await alice.send("bob", "x", {"n": 1})
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(MasError) as caught:
            await alice.send("bob", "x", {"n": 2})
        records = len(await system.audit(kind="message"))
        delivered = list(bob.numbers)
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "0")
        await alice.send("bob", "x", {"n": 3})
        await until(lambda: 3 in bob.numbers)

        assert caught.value.code == "store_full"
        assert (records, delivered) == (1, [1])
        assert await system.audit_holds()
