"""Messages to capabilities and routes: who gets them, by which strategy, and within the rules of access."""

from collections import Counter

import pytest
from support.systems import Recorder, live_system

from mas_core.agent.known_messages import TaskAssignment
from mas_core.errors import Backpressure, NoResponder, RouteNotFound
from mas_core.model.routing import Way
from mas_core.ops import routing

WORKERS = ["one", "two", "three"]


class Worker(Recorder):
    """Says who it is."""

    capabilities = ("nlp",)

    async def on_message(self, message):
        """Keep it, and answer with the own name."""
        await super().on_message(message)
        if message.expects_reply:
            await message.reply("me", {"id": self.id})


@pytest.fixture
async def system(every_url):
    """alice may send to three workers; nobody to the fourth who can do the same."""
    names = ["alice", "hidden", *WORKERS]
    async with live_system(every_url, agents=names, allow=[("alice", name) for name in WORKERS]) as opened:
        for name in (*WORKERS, "hidden"):
            await opened.run(name, Worker)
        yield opened


@pytest.fixture
async def alice(system):
    return await system.run("alice")


async def answers(alice, target, count, payload=None, message_type="nlp_parse"):
    """Who answered so many requests, in their order."""
    return [(await alice.request(target, message_type, payload)).data["id"] for _ in range(count)]


async def test_a_capability_is_whoever_can_do_it_and_may_be_sent_to(system, alice):
    """The work is spread, and who may not get it never does, whatever it claims (G3)."""
    told = Counter(await answers(alice, "capability:nlp", 9))
    assert told == dict.fromkeys(WORKERS, 3)

    receipt = await alice.send("capability:nlp", TaskAssignment(task_id="t1", task_type="nlp"))
    assert receipt.is_delivered
    with pytest.raises(NoResponder, match="nobody runs that can do cooking"):
        await alice.send("capability:cooking", "cook", {})
    with pytest.raises(RouteNotFound, match="no route is for nlp_parse"):
        await alice.send("route:*", "nlp_parse", {})


async def test_the_closest_rule_that_fits_the_type_decides(system, alice):
    """By the name of a route, by the type alone, and for what is sent to a capability; in force at once (K7)."""
    await routing.set_route(system.system, "parse", ["two"], message_type="nlp_*")
    await routing.set_route(system.system, "all", ["three"], message_type="*")
    await routing.set_route(system.system, "talk", ["one"], capability="nlp", message_type="talk.*")

    assert await answers(alice, "route:*", 2) == ["two", "two"]
    assert await answers(alice, "route:*", 1, message_type="other") == ["three"]
    assert await answers(alice, "route:parse", 1) == ["two"]
    assert await answers(alice, "capability:nlp", 2, message_type="talk.now") == ["one", "one"]
    with pytest.raises(RouteNotFound, match="there is no route parse for other"):
        await alice.send("route:parse", "other", {})

    assert list(await routing.list_routes(system.system)) == ["talk", "parse", "all"]
    await routing.remove_route(system.system, "all")
    with pytest.raises(RouteNotFound):
        await alice.request("route:*", "another", {})
    with pytest.raises(RouteNotFound):
        await routing.remove_route(system.system, "all")


async def test_strategies_choose_as_they_say(system, alice):
    """In turn, by shares, by a key, by the most of the wanted capabilities."""

    async def rule(name, *to, **options):
        await routing.set_route(system.system, name, to, **options)
        return f"route:{name}"

    turn = await answers(alice, await rule("turn", *WORKERS, strategy="round_robin"), 6)
    assert turn[:3] == turn[3:]
    assert set(turn) == set(WORKERS)
    shares = await rule("shares", *WORKERS, strategy="weighted", weights={"one": 0, "two": 0})
    assert set(await answers(alice, shares, 5)) == {"three"}
    sticky = await rule("sticky", *WORKERS, strategy="sticky", key="/customer/id")
    homes = [set(await answers(alice, sticky, 2, {"customer": {"id": number}})) for number in range(12)]
    assert all(len(home) == 1 for home in homes)
    assert len(set().union(*homes)) > 1
    await system.register("expert")
    await system.allow(("alice", "expert"))
    await system.run("expert", Worker, capabilities=["german"])
    best = await rule("best", "capability:nlp", "capability:german", strategy="best_match")
    assert set(await answers(alice, best, 4)) == {"expert"}

    found, ways = await alice.client.router.ways(sticky, "nlp_parse", {"customer": {"id": 3}})
    assert {ways[0].agent} == homes[3]
    assert found.route == "sticky"
    assert "key" in ways[0].why


async def test_an_agent_that_cannot_take_it_is_replaced_by_the_next_once(system, alice):
    """Under an id of its own, so that the refusal that stands for the first one is not its answer."""
    await system.register("gone")
    await system.allow(("alice", "gone"))
    await routing.set_route(system.system, "pair", ["one", "gone"])
    told = alice.client.router
    real = told.ways

    async def too_late(target, message_type, data=None, *, expects_reply=False):
        found, ways = await real(target, message_type, data, expects_reply=expects_reply)
        return found, [Way("gone", "it ran a moment ago"), *ways]

    told.ways = too_late
    reply = await alice.request("route:pair", "nlp_parse", {}, message_id="own-1")
    assert reply.sender_id == "one"

    async def refuse(agent_id, message_id):
        tried.append(agent_id)
        raise Backpressure

    tried = []
    with pytest.raises(Backpressure):
        await told.carry("route:pair", "nlp_parse", {}, "", refuse)
    assert tried == ["gone", "one"]


async def test_discovery_gives_at_most_so_many_the_least_loaded_first(system, alice):
    """However many there are (G3)."""
    assert len(await alice.discover(["nlp"])) == 3
    assert len(await alice.discover(["nlp"], limit=2)) == 2
