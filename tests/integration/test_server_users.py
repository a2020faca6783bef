"""Users of the server: agents, gateways and auditors have the rights that they use, and no others."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from support.server_users import (
    calls_of_script,
    client_as_itself,
    gateway_as_itself,
    keep_tokens,
    recording,
    run_as_itself,
    url_of_agent,
    url_of_role,
)
from support.servers import embedded_server
from support.systems import LiveSystem, live_system
from support.waiting import until

from mas_core import Agent, Supervisor
from mas_core.agent.connecting import connect
from mas_core.errors import (
    AgentNotFound,
    ConfigurationError,
    Conflict,
    InternalError,
    NotFound,
    StoreUnreachable,
)
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.ops import agents, audit, server_users, standings
from mas_core.ops.system import System
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.private_files import private_dir, write_token
from mas_core.settings.server_logins import ROLES, agent_login_path, read_login, url_for
from mas_core.settings.target import Target
from mas_core.store import server_users as rules
from mas_core.store.connection import Connection
from mas_core.store.embedded_server import EmbeddedServer
from mas_core.store.keys import Keys
from mas_core.store.urls import user_of
from mas_core.store.user_admin import UserAdmin


@pytest.fixture
async def own_server():
    """A server of the test's own: users are its, and who turns the default one off turns it off for all."""
    async with embedded_server() as server:
        yield server


class Worker(Agent):
    """Does what agents do: answers, keeps state, fails, hears topics, takes tasks."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.heard = []

    @Agent.on("add")
    async def add(self, message):
        """The sum so far."""
        await self.update_state({"sum": self.state.get("sum", 0) + message.data["n"]})
        return {"sum": self.state["sum"]}

    @Agent.on("fail")
    async def fail(self, message):
        """Always."""
        raise ValueError("no")

    @Agent.subscribe("orders.*", durable=True)
    async def on_order(self, message):
        """Keep it."""
        self.heard.append(message.data["n"])

    @Agent.task("sum")
    async def sum(self, task, payload):
        """The sum."""
        return {"sum": sum(payload["numbers"])}


async def refused_to(running: LiveSystem) -> list[dict[str, object]]:
    """What the server refused to users of this system."""
    entries = await running.store.connection.call("ACL", "LOG", 128)
    found = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in entries]
    return [item for item in found if item[b"username"].startswith(running.store.namespace.encode())]


async def test_a_system_runs_with_users_that_may_do_only_what_they_do(own_server, monkeypatch):
    """Sends, requests, state, failures, claims, topics, tasks and leaders: the server refuses nothing of it."""
    async with live_system(own_server.url, agents=["boss", "worker"], gateways=0, partitions=2) as running:
        await running.allow(("boss", "worker"), ("worker", "boss"))
        await running.allow(("boss", "topic:orders.*"), action="publish")
        await running.allow(("worker", "topic:orders.*"), action="subscribe")
        await running.allow(("boss", "task:default"), action="assign")
        await running.allow(("worker", "task:default"), action="work")
        await running.allow(("worker", "leader:main"), action="lead")
        gateway = await gateway_as_itself(running)
        boss = await client_as_itself(running, "boss")
        with recording(gateway._store.connection, monkeypatch) as by_gateway:
            worker = await run_as_itself(running, "worker", Worker)
            with recording(worker._store.connection, monkeypatch) as by_agent:
                assert (await boss.request("worker", "add", {"n": 3})).data == {"sum": 3}
                assert (await boss.request("worker", "add", {"n": 4})).data == {"sum": 7}
                await boss.send("worker", "fail", {}, delivery="exactly_once")
                await boss.publish("orders.created", {"n": 1})
                await until(lambda: worker.heard == [1])
                desk = Supervisor(boss)
                assert await desk.result(await desk.assign("sum", {"numbers": [1, 2]})) == {"sum": 3}
                async with worker.leadership("main"):
                    await worker.update_state({"led": True})
                await until(lambda: running.audit(kind="delivery.dead"))
                second = await run_as_itself(running, "worker", Worker)
                await second.stop()
                await worker.stop()
        assert await refused_to(running) == []
        assert by_agent <= set(rules.AGENT_COMMANDS)
        assert by_gateway <= set(rules.GATEWAY_COMMANDS)
        assert await running.audit_holds()
        assert not await running.audit(kind="security")


def mode_of(path):
    """Permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def users_of(running: LiveSystem) -> list[str]:
    """Names of the users of the server."""
    return await UserAdmin(running.store.connection).names()


async def test_the_list_of_the_gateway_holds_nothing_that_no_gateway_calls():
    """Each of its commands is one that it sends or that one of its scripts calls."""
    sent = {
        *("auth", "hello", "ping", "client|setname", "time", "asking", "cluster|slots", "role", "wait"),
        *("acl|log", "config|get", "info", "evalsha", "script|exists", "script|load"),
        *("hdel", "hget", "hgetall", "hincrby", "hlen", "hmget", "hset", "pexpire", "smembers"),
        *("xadd", "xrange", "xread", "zrange", "zscore"),
    }
    scripts = (
        *("acquire", "commit", "due", "give_back", "limit_use", "read_changes", "read_delivery", "renew"),
        *("reserve", "trim_log"),
    )
    called = sent.union(*(calls_of_script(name) for name in scripts))
    assert called == set(rules.GATEWAY_COMMANDS)


async def test_the_list_of_agents_holds_nothing_that_no_agent_calls():
    """Each of their commands is one that they send or that one of their scripts calls, on keys of their own."""
    sent = {
        *(
            "auth",
            "hello",
            "ping",
            "client|setname",
            "time",
            "asking",
            "cluster|slots",
            "role",
            "wait",
            "evalsha",
        ),
        *("del", "hget", "hgetall", "hkeys", "hmget", "xack", "xadd", "xgroup|create", "xgroup|destroy"),
        *("xread", "xreadgroup", "xtrim", "zscore"),
    }
    called = sent.union(*(calls_of_script(name) for name in rules.AGENT_SCRIPTS))
    assert called == set(rules.AGENT_COMMANDS)


async def test_a_login_is_made_once_kept_privately_and_changed_on_demand(own_server):
    """Its password is in a private file and nowhere else; rotating ends what came with the old one."""
    async with live_system(own_server.url, agents=["alice", "bob"]) as running:
        keep_tokens(running)
        system = running.system
        path = agent_login_path(system.target.tokens_dir, "alice")
        planned = await server_users.agent_user(system, "alice")
        assert (planned.change, path.exists()) == ("made", False)
        assert not [user for user in await users_of(running) if "alice" in user]

        made = (await server_users.provision(system, ["alice"])).users[0]
        first = read_login(path)
        assert (made.change, mode_of(path), first.user) == (
            "made",
            0o600,
            running.store.keys.server_user("alice"),
        )
        again = (await server_users.provision(system, ["alice"])).users[0]
        assert (again.change, read_login(path)) == ("updated", first)
        before = Connection(url_for(system.target.url, first))
        await before.call("PING")

        renewed = (await server_users.provision(system, ["alice"], rotate=True)).users[0]
        second = read_login(path)
        assert renewed.change == "renewed"
        with pytest.raises((ConfigurationError, StoreUnreachable)):
            await before.call("PING")
        with pytest.raises(ConfigurationError, match="does not accept"):
            await before.call("PING")
        await before.close()
        after = Connection(url_for(system.target.url, second))
        await after.call("PING")
        await after.close()

        removed = (await server_users.unprovision(system, "alice")).users[0]
        assert (removed.change, path.exists()) == ("removed", False)
        with pytest.raises(NotFound, match="has no user"):
            await server_users.unprovision(system, "alice")
        with pytest.raises(AgentNotFound):
            await server_users.provision(system, ["nobody"])

        async def are_recorded() -> bool:
            return bool(await running.audit(type="agent.unprovision", decision="done"))

        await until(are_recorded)
        log = b"".join([path.read_bytes() for path in running.folder.rglob("*") if path.is_file()])
        everything = repr(await running.audit()).encode() + log
        everything += repr(await running.store.connection.call("ACL", "LIST")).encode()
        everything += own_server.log_path.read_bytes()
        assert not any(login.password.encode() in everything for login in (first, second))


async def test_rights_on_logs_follow_the_rules_about_topics(own_server):
    """An agent may read logs of topics that rules let it subscribe to, and no others."""
    async with live_system(own_server.url, agents=["alice"]) as running:
        await running.allow(("alice", "topic:orders.>"), action="subscribe")
        await running.allow(("alice", "topic:news.*"), action="publish")
        keys = running.store.keys
        reader = Connection(await url_of_agent(running, "alice"))
        await reader.call("XREAD", "STREAMS", keys.topic(0, "orders.created.today"), "0")
        with pytest.raises(InternalError, match="may not"):
            await reader.call("XREAD", "STREAMS", keys.topic(0, "news.today"), "0")
        await running.allow(("alice", "topic:news.*"), action="subscribe")
        await server_users.provision(running.system, ["alice"])
        await reader.call("XREAD", "STREAMS", keys.topic(0, "news.today"), "0")
        await reader.close()


async def test_an_auditor_verifies_the_audit_and_reads_nothing_else(own_server):
    """The chain and its questions are open to it; payloads, states and inboxes are not."""
    async with live_system(own_server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as running:
        await running.run("bob")
        await (await running.client("alice")).send("bob", "note", {"n": 1})
        url = await url_of_role(running, "auditor")
        target = Target(url, namespace=running.store.namespace, keys_dir=running.system.target.keys_dir)
        async with System(target) as system:
            assert all(item.result.ok for item in await audit.verify(system))
            assert [item async for item in audit.records(system)]
            await system.operator_log.asked("audit.list")
            keys, call = system.store.keys, system.store.connection.call
            for command in (
                ("HSET", keys.policy(), "document", "{}"),
                ("HGETALL", keys.state(0, "bob")),
                ("XRANGE", keys.inbox(0, "bob", "normal"), "-", "+"),
                ("XTRIM", keys.audit(0), "MAXLEN", 0),
                ("XADD", keys.audit(0), "*", "r", "x"),
                ("HSET", keys.meta(0), "owner", "x"),
                ("ACL", "LIST"),
            ):
                with pytest.raises(InternalError, match="may not"):
                    await call(*command)


async def test_the_default_user_goes_only_when_nobody_depends_on_it_and_comes_back(own_server):
    """Who is connected as it keeps it; without it the server starts again, and with its users gone it is back."""
    async with live_system(own_server.url, agents=["alice"]) as running:
        keep_tokens(running)
        await server_users.provision(running.system, ["alice"])
        other = Connection(own_server.url)
        await other.call("PING")
        with pytest.raises(Conflict, match="open as the default user"):
            await server_users.apply(running.system, default="off")
        applied = await server_users.apply(running.system, default="off", force=True)
        assert applied.default_off
        assert {item.kind for item in applied.users} == {*ROLES, "agent"}
        found = {item.user: item for item in await server_users.list_users(running.system)}
        assert mode_of(found[running.store.keys.role_user("operator")].path) == 0o600
        late = Connection(own_server.url)
        with pytest.raises(ConfigurationError, match="does not accept"):
            await late.call("PING")
        await late.close()
        again = await server_users.apply(running.system, default="on")
        assert not again.default_off
        await other.call("PING")
        await other.close()


async def test_the_embedded_server_starts_again_with_its_users(tmp_path):
    """Closed to the default user it lets its operator in; with its file of users gone, the default one again."""
    server = EmbeddedServer(tmp_path / "server", tmp_path / "run", tmp_path / "keys", profile="fast")
    target = Target("", keys_dir=tmp_path / "keys", tokens_dir=private_dir(tmp_path / "tokens"))
    GatewayKeys.load_or_create(tmp_path / "keys")
    async with server:
        closed = await server_users.apply_at_start(replace(target, url=server.url), default_off=True)
        assert "mas-operator:" in closed.url
        assert "mas-gateway:" in closed.url_as("gateway")
    async with server:
        assert "mas-operator:" in server.url
        async with System(Target(server.url)) as system:
            assert await UserAdmin(system.store.connection).me() == "mas-operator"
    (tmp_path / "server" / "users.acl").unlink()
    async with server:
        assert "mas-operator" not in server.url
        healed = await server_users.apply_at_start(replace(target, url=server.url), default_off=False)
        async with System(healed) as system:
            assert await UserAdmin(system.store.connection).me() == "mas-operator"
            (default, *_) = await system.store.connection.call("ACL", "LIST")
            assert default.startswith(b"user default off")


async def test_an_agent_of_a_project_finds_its_login_beside_its_token(own_server, tmp_path, monkeypatch):
    """By hand and by the supervisor it comes as itself; a URL that names a user is used as it is."""
    async with live_system(own_server.url, agents=["alice"]) as running:
        keep_tokens(running)
        await server_users.provision(running.system, ["alice"])
        tokens = running.system.target.tokens_dir
        write_token(tokens, "alice", running.tokens["alice"])
        (running.folder / "mas.yaml").write_text(
            f"name: own\nnamespace: {running.store.namespace}\nurl: '{own_server.url}'\n"
        )
        monkeypatch.chdir(running.folder)
        connected = await connect("alice", None, None, None)
        await connected.store.ping()
        assert user_of(connected.store.connection.url) == running.store.keys.server_user("alice")
        await connected.store.close()
        connected = await connect("alice", own_server.url, None, None)
        assert await UserAdmin(connected.store.connection).me() == "default"
        await connected.store.close()


async def test_users_are_on_every_node_of_a_cluster(cluster):
    """On masters and replicas, so that a fail-over locks nobody out and lets nobody in; an agent works there."""
    async with live_system(cluster.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as running:
        await server_users.apply(running.system)
        bob = await run_as_itself(running, "bob")
        await (await client_as_itself(running, "alice")).send("bob", "note", {"n": 1})
        await until(lambda: bob.numbers == [1])
        user = running.store.keys.server_user("alice")
        for member in cluster.members:
            assert user in member.call("ACL", "USERS")
        assert await refused_to(running) == []
        await agents.revoke_token(running.system, "alice")
        for member in cluster.members:
            assert user not in member.call("ACL", "USERS")


async def test_no_user_is_given_back_to_an_agent_that_may_not_come(own_server):
    """Evicted or without a token it keeps none, whoever applies the users; a removed one loses its login too."""
    async with live_system(own_server.url, agents=["alice", "bob", "carol"]) as running:
        keep_tokens(running)
        system = running.system
        await server_users.provision(system, ["alice", "bob", "carol"])
        await standings.set_standing(system, ["alice"], "evicted", reason="taken over", wait=0)
        await agents.deregister(system, "bob")
        assert not agent_login_path(system.target.tokens_dir, "bob").exists()
        applied = await server_users.apply(system)
        assert [item.agent for item in applied.users if item.kind == "agent"] == ["carol"]
        mine = running.store.keys.server_user("")
        assert [user for user in await users_of(running) if user.startswith(mine)] == [f"{mine}carol"]


def test_patterns_of_topics_are_those_that_rules_let_an_agent_subscribe_to():
    """By its name, its roles and everybody's; never those that it may only publish to."""
    given = [
        Rule("1", "allow", "alice", "topic:orders.>", action="subscribe"),
        Rule("2", "allow", "role:readers", "topic:news.*"),
        Rule("3", "allow", "*", "topic:all", action="subscribe"),
        Rule("4", "allow", "alice", "topic:secret", action="publish"),
        Rule("5", "deny", "alice", "topic:denied"),
        Rule("6", "allow", "bob", "topic:bobs"),
        Rule("7", "allow", "alice", "bob"),
    ]
    document = PolicyDocument(rules=tuple(given), roles={"readers": ("alice",)})
    assert server_users.topic_patterns(document, "alice") == ("all", "news.*", "orders.>")
    assert server_users.topic_patterns(None, "alice") == ()
    named = rules.agent_rules(Keys("shop"), "alice", ("orders.>",))
    assert any("%RW~shop:{*}:topic:orders.*" in word and "+xread" in word for word in named)
