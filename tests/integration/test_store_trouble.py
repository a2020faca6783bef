"""The server takes no writes, forgets things, or shuts us out: nothing is half done, and work goes on after it."""

import pytest
from support.servers import embedded_server
from support.systems import live_system
from support.waiting import until

from mas_core.errors import MasError, StoreFull, StoreUnreachable
from mas_core.ops import status
from mas_core.store.agents import Settlement
from mas_core.store.commits import Commit

PAIRS = [("alice", "bob")]


def audit_commit(system, nonce):
    """A batch that only records something."""
    expected = {"nonce": nonce, "audit_seq": "", "audit_head": ""}
    commit = Commit(system.store.keys, 0, expected, 60_000)
    commit.add_audit(b'{"seq":1}', 1, "head-1")
    return commit


@pytest.mark.parametrize(
    ("setting", "value", "well", "error"),
    [
        ("maxmemory", "1mb", "0", StoreFull),
        ("min-replicas-to-write", "1", "0", StoreUnreachable),
    ],
)
async def test_r9_a_batch_that_a_server_refuses_is_refused_as_what_it_is(setting, value, well, error):
    """And leaves nothing: a full server is not taken for an audit that takes no records."""
    async with (
        embedded_server() as server,
        live_system(server.url, gateways=0, limit=None) as system,
    ):
        partition, call = system.store.partition(0), system.store.connection.call
        await partition.acquire("gw", "mine", 60_000, "1")
        await call("CONFIG", "SET", setting, value)

        with pytest.raises(error):
            await partition.commit(audit_commit(system, "mine"))

        await call("CONFIG", "SET", setting, well)
        assert await call("XLEN", system.store.keys.audit(0)) == 0
        assert (await partition.commit(audit_commit(system, "mine"))).result.value == "done"


async def test_r9_what_was_delivered_before_is_read_and_settled_while_memory_is_full():
    """Only then is there room again; what is sent meanwhile is refused as store_full, and passes afterwards."""
    async with (
        embedded_server() as server,
        live_system(server.url, agents=["alice", "bob"], allow=PAIRS) as system,
    ):
        bob, alice = system.agent("bob"), await system.run("alice")
        await alice.send_many("bob", "x", [{"n": number} for number in range(20)])
        call = system.store.connection.call
        await call("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(StoreFull):
            await alice.send("bob", "x", {"n": 20})
        reader = system.store.agent("bob")
        inbox = await reader.read_inbox("i1", {"high": 9, "normal": 9, "low": 9}, 0)
        done = await reader.settle(
            "i1", [Settlement(item.lane, item.entry, 20, tuple(range(20))) for item in inbox]
        )
        backlog = sum((await reader.backlog()).values())
        await call("CONFIG", "SET", "maxmemory", "0")
        await system.stack.enter_async_context(bob)
        await alice.send("bob", "x", {"n": 21})
        await until(lambda: bob.numbers == [21])

        assert (done, backlog) == ([20], 0)
        assert await system.audit_holds()


async def test_r4_who_waits_is_told_that_the_server_is_away_and_that_it_may_pass():
    """Not that no gateway runs; the message may have been taken, so its id is given."""
    async with (
        embedded_server() as server,
        live_system(server.url, agents=["alice", "bob"], allow=PAIRS) as system,
    ):
        alice = await system.client("alice")
        await alice.send("bob", "x", {"n": 1})
        await server.stop()
        with pytest.raises(StoreUnreachable, match="may still be delivered") as caught:
            await alice.send("bob", "x", {"n": 2}, message_id="mine", timeout=1)
        await server.start()

        assert caught.value.retryable
        assert caught.value.details["message_id"] == "mine"
        assert (await alice.send("bob", "x", {"n": 2}, message_id="mine")).decision == "allowed"


async def test_r22_a_user_that_is_deleted_shuts_the_system_out_until_it_is_back():
    """Nothing is delivered without a record meanwhile; afterwards everything goes on by itself."""
    async with (
        embedded_server() as server,
        live_system(server.url, gateways=0, limit=None) as admin,
    ):
        call = admin.store.connection.call
        await call("ACL", "SETUSER", "mas", "on", ">of-mas", "~*", "&*", "+@all")
        url = server.url.replace("://:", "://mas:").replace(server.url.split(":")[2].split("@")[0], "of-mas")
        async with live_system(url, agents=["alice", "bob"], allow=PAIRS) as system:
            bob, alice = await system.run("bob"), await system.client("alice")
            await alice.send("bob", "x", {"n": 1})
            await call("ACL", "DELUSER", "mas")
            with pytest.raises(MasError):
                await alice.send("bob", "x", {"n": 2}, message_id="mine", timeout=1.5)
            await call("ACL", "SETUSER", "mas", "on", ">of-mas", "~*", "&*", "+@all")

            async def is_back():
                try:
                    return await alice.send("bob", "x", {"n": 2}, message_id="mine", timeout=2)
                except MasError:
                    return None

            receipt = await until(is_back, seconds=20)
            await until(lambda: bob.numbers == [1, 2])
            assert receipt.decision == "allowed"
            assert await system.audit_holds()


async def test_r22_a_setting_that_is_changed_under_a_running_system_is_told():
    """By `mas status`, as long as it stays so: the server does not keep any more what the profile promises."""
    async with (
        embedded_server("durable") as server,
        live_system(server.url, agents=["alice"]) as system,
    ):

        async def told():
            return [
                item.message
                for item in (await status.status(system.system)).problems
                if "server" in item.message
            ]

        call = system.store.connection.call
        before = await told()
        await call("CONFIG", "SET", "appendfsync", "everysec")
        await call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        during = await told()
        await call("CONFIG", "SET", "appendfsync", "always")
        await call("CONFIG", "SET", "maxmemory-policy", "noeviction")

        assert (before, await told()) == ([], [])
        assert ["appendfsync always" in during[0], "drops messages" in during[1]] == [True, True]
