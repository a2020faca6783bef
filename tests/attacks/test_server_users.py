"""Attacks with the credentials of an agent's own user of the server."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from support.server_users import client_as_itself, run_as_itself, store_as, url_of_agent
from support.systems import live_system
from support.waiting import until

from mas_core.agent.client import Client
from mas_core.errors import InternalError, MasError, Unauthenticated
from mas_core.ops import agents
from mas_core.store.connection import Connection, Pipeline, script_text
from mas_core.store.keys import Keys
from mas_core.store.wire import Command


def sha(name: str) -> str:
    """How a server knows a script."""
    return hashlib.sha1(script_text(name).encode()).hexdigest()  # noqa: S324 - its name


def is_refusal(error: MasError | None) -> bool:
    """Whether the server said that the user may not do it, also inside of a script."""
    return error is not None and ("NOPERM" in str(error) or "ACL failure in script" in str(error))


def forbidden(keys: Keys) -> list[Command]:
    """What alice may not do; bob is another agent, all in partition 0."""
    mine, bobs = keys.inbox(0, "alice", "normal"), keys.inbox(0, "bob", "normal")
    ingress, audit, meta = keys.ingress(0, "normal"), keys.audit(0), keys.meta(0)
    state, registration = keys.state(0, "bob"), keys.agent(0, "alice")
    lanes = [keys.inbox(0, "bob", lane) for lane in ("high", "normal", "low")]
    return [
        # Messages past the gateway: another's inbox, its own, replies, a topic's log.
        ("XADD", bobs, "*", "h", "x", "b", "y"),
        ("XADD", mine, "*", "h", "x", "b", "y"),
        ("XADD", keys.replies(0, "bob", "0" * 16), "*", "h", "x", "b", "y"),
        ("XADD", keys.topic(0, "orders.created"), "*", "h", "x", "b", "y"),
        # Reading what is not its own.
        ("XREADGROUP", "GROUP", "agent", "eve", "STREAMS", bobs, ">"),
        ("XREAD", "STREAMS", bobs, "0"),
        ("XREAD", "STREAMS", keys.replies(0, "bob", "0" * 16), "0"),
        ("XRANGE", ingress, "-", "+"),
        ("XREAD", "STREAMS", ingress, "0"),
        ("XLEN", ingress),
        ("XRANGE", audit, "-", "+"),
        ("XREAD", "STREAMS", audit, "0"),
        ("HGETALL", state),
        ("HGETALL", keys.agent(0, "bob")),
        ("HGETALL", keys.policy()),
        ("HGETALL", meta),
        ("HGETALL", keys.later_bodies(0)),
        ("XRANGE", keys.dead(0), "-", "+"),
        ("HGETALL", keys.payload_copies(0)),
        # Changing what is not its own, or is the gateway's to change.
        ("XACK", bobs, "agent", "1-1"),
        ("XCLAIM", bobs, "agent", "eve", 0, "1-1"),
        ("XTRIM", ingress, "MAXLEN", 0),
        ("XDEL", ingress, "1-1"),
        ("XSETID", ingress, "18446744073709551615-0"),
        ("XTRIM", mine, "MAXLEN", 0),
        ("XSETID", mine, "18446744073709551615-0"),
        ("XGROUP", "DESTROY", mine, "agent"),
        ("DEL", ingress),
        ("DEL", mine),
        ("XADD", audit, "*", "r", "{}"),
        ("XTRIM", audit, "MAXLEN", 0),
        ("XADD", keys.operator_log(), "*", "h", "x", "b", "y"),
        ("HSET", state, "data", "{}"),
        ("HSET", registration, "record", "{}"),
        ("HSET", meta, "owner", "alice"),
        ("HSET", keys.policy(), "document", "{}"),
        ("HSET", keys.layout_record(), "partitions", 9),
        # Scripts that the gateway loaded, on keys of others, and scripts of its own.
        ("EVALSHA", sha("settle"), 6, keys.work(0, "bob"), state, keys.handled(0, "bob"), *lanes, "eve", 1),
        ("EVALSHA", sha("set_state"), 1, state, "", "{}", "1"),
        ("EVALSHA", sha("set_state"), 1, registration, "", "{}", "1"),
        ("EVALSHA", sha("claim"), 5, keys.work(0, "bob"), keys.agent(0, "bob"), *lanes, "eve", 1, 9, 1),
        ("EVAL", "return 1", 0),
        ("SCRIPT", "LOAD", "return 1"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() return 1 end)"),
        ("FCALL", "x", 0),
        # The server itself.
        ("KEYS", "*"),
        ("SCAN", 0),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "appendonly", "no"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all"),
        ("ACL", "LOG", "RESET"),
        ("MONITOR",),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("PUBLISH", "news", "x"),
        ("SUBSCRIBE", "news"),
        ("DUMP", keys.state(0, "alice")),
        ("RESTORE", bobs, 0, b"x"),
        ("RENAME", ingress, mine),
        ("COPY", state, keys.state(0, "alice")),
        ("SELECT", 1),
        ("SWAPDB", 0, 1),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "USER", "default"),
        ("INFO",),
        ("REPLICAOF", "10.0.0.1", 6379),
        ("MIGRATE", "10.0.0.1", 6379, bobs, 0, 1000),
        ("SHUTDOWN", "NOSAVE"),
    ]


async def test_s2_an_agents_own_user_gets_past_nothing_and_all_it_tries_is_recorded(server_url):
    """Each forbidden thing is refused by the server, nothing is delivered, and the audit has every one in 5 s."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob = await system.run("bob")
        attacker = Connection(await url_of_agent(system, "alice"))
        system.stack.push_async_callback(attacker.close)
        tried = forbidden(system.store.keys)
        pipeline = Pipeline()
        for command in tried:
            pipeline.add(*command)
        registration = (await system.store.records.agents(["alice"]))[0]["record"]
        began = asyncio.get_running_loop().time()
        refusals = await attacker.run_each(pipeline)
        assert [
            command for command, error in zip(tried, refusals, strict=True) if not is_refusal(error)
        ] == []
        assert (await system.store.records.agents(["alice"]))[0].get("record") == registration
        assert len(refusals) >= 23

        async def told() -> bool:
            found = await system.audit(kind="security", type="acl.denied", target="alice")
            return sum(item.details["facts"]["times"] for item in found) >= len(tried)

        await until(told)
        assert asyncio.get_running_loop().time() - began < 5
        found = await system.audit(kind="security", type="acl.denied")
        assert sum(item.details["facts"]["times"] for item in found) == len(tried)
        objects = {item.details["facts"]["object"] for item in found}
        assert {"acl|setuser", "flushall", "eval", system.store.keys.audit(0)} <= objects
        assert bob.messages == []
        assert not await system.audit(kind="message")
        assert await system.audit_holds()


async def test_s2_one_refusal_over_and_over_is_told_with_its_number(server_url):
    """The same thing tried a thousand times makes few records, and none of the tries is lost."""
    async with live_system(server_url, agents=["alice"]) as system:
        attacker = Connection(await url_of_agent(system, "alice"))
        system.stack.push_async_callback(attacker.close)
        pipeline = Pipeline()
        for _ in range(1000):
            pipeline.add("FLUSHALL")
        await attacker.run_each(pipeline)

        async def times() -> int:
            found = await system.audit(kind="security", type="acl.denied")
            return sum(item.details["facts"]["times"] for item in found)

        async def are_told() -> bool:
            return await times() == 1000

        await until(are_told)
        await attacker.run_each(pipeline)

        async def are_told_again() -> bool:
            return await times() == 2000

        await until(are_told_again)
        assert len(await system.audit(kind="security")) <= 6


async def test_s2_another_gateway_goes_on_where_the_last_one_has_read(server_url):
    """What was refused while no gateway ran is recorded by the next one, what was recorded before is not."""
    async with live_system(server_url, agents=["alice"], gateways=0) as system:
        attacker = Connection(await url_of_agent(system, "alice"))
        system.stack.push_async_callback(attacker.close)

        async def try_it(*command: str) -> None:
            with pytest.raises(InternalError, match="may not"):
                await attacker.call(*command)

        async def objects() -> list[object]:
            found = await system.audit(kind="security", type="acl.denied")
            return [item.details["facts"]["object"] for item in found]

        first = await system.start_gateway()
        await try_it("FLUSHALL")
        await until(objects)
        await first.stop()
        await try_it("CONFIG", "GET", "*")
        await system.start_gateway()

        async def both() -> bool:
            return "config|get" in await objects()

        await until(both)
        assert sorted(map(str, await objects())) == ["config|get", "flushall"]


async def test_s4_a_stolen_token_is_of_no_use_with_another_agents_user(server_url):
    """Alice's token and bob's login: it cannot even begin, nothing is sent, and the audit tells who tried."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        thief = Client(store_as(system, await url_of_agent(system, "bob")), "alice", system.tokens["alice"])
        system.stack.push_async_callback(thief._store.close)
        with pytest.raises(MasError):
            async with thief:
                await thief.send("bob", "note", {"n": 1}, timeout=1)

        async def told() -> bool:
            return bool(await system.audit(kind="security", type="acl.denied", target="bob"))

        await until(told)
        receipts = await system.audit(kind="message", sender="alice")
        assert [item.decision for item in receipts] == []


async def test_s5_a_revoked_agent_loses_its_connections_and_its_user(server_url):
    """With its token its user goes: what is open ends, and nobody comes back with its login."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        url = await url_of_agent(system, "alice")
        alice = await client_as_itself(system, "alice")
        await run_as_itself(system, "bob")
        await alice.send("bob", "note", {"n": 1})
        user = system.store.keys.server_user("alice")

        await agents.revoke_token(system.system, "alice")
        with pytest.raises(Unauthenticated, match="does not let the agent's own user in"):
            await alice.send("bob", "note", {"n": 2})

        listed = await system.store.connection.call("CLIENT", "LIST")
        assert f" user={user} ".encode() not in listed
        late = store_as(system, url).connection
        with pytest.raises(Unauthenticated):
            await late.call("PING")
        await late.close()
        assert [item.message_id for item in await system.audit(kind="message", decision="allowed")] != []


async def test_s22_scripts_that_were_flushed_are_there_again_for_agents_that_may_not_load_them(server_url):
    """A gateway loads what agents call, so an agent waits for it and goes on."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob, alice = await run_as_itself(system, "bob"), await client_as_itself(system, "alice")
        await system.store.connection.call("SCRIPT", "FLUSH")
        await alice.send("bob", "note", {"n": 1})
        await until(lambda: bob.numbers == [1])

        async def is_settled() -> bool:
            return sum((await system.store.agent("bob").backlog()).values()) == 0

        await until(is_settled)
        assert not await system.audit(kind="security")
