"""`GatewayService.auth_manager`: the policy from Python."""

import re
import textwrap
from pathlib import Path

import pytest
from support.systems import live_system, new_namespace

from mas_core import AuthManager, Forbidden, GatewayService, InvalidIdentifier, RoleNotFound, UsageError
from mas_core.agent.agent import Agent

NAMES = ("a", "b", "c", "d")


@pytest.fixture
async def gateway():
    """A gateway in memory with agents that may do nothing yet."""
    async with GatewayService(redis_url=f"memory://{new_namespace()}") as service:
        for name in NAMES:
            await service.admit(name)
        yield service


async def allowed(gateway, **options):
    """Every pair that may talk, as `ab` for a to b."""
    auth = gateway.auth_manager
    return {
        one + other
        for one in NAMES
        for other in NAMES
        if one != other and await auth.check_permission(one, other, **options)
    }


async def test_p2_each_way_to_allow(gateway):
    """One way, both ways, broadcast, network, wildcard; nothing without."""
    auth = gateway.auth_manager()
    assert await allowed(gateway) == set()

    await auth.allow("a", ["b", "c"])
    assert await allowed(gateway) == {"ab", "ac"}
    await auth.allow_bidirectional("b", "c")
    assert await allowed(gateway) == {"ab", "ac", "bc", "cb"}
    await auth.allow_broadcast("d", ["a", "b"])
    assert await allowed(gateway) == {"ab", "ac", "bc", "cb", "da", "db"}
    assert "da" not in await allowed(gateway, action="request")
    await auth.allow_network(["a", "b", "d"])
    assert await allowed(gateway) == {"ab", "ac", "ad", "ba", "bc", "bd", "cb", "da", "db"}
    await auth.allow_wildcard("c")
    assert await allowed(gateway) == {"ab", "ac", "ad", "ba", "bc", "bd", "ca", "cb", "cd", "da", "db"}


async def test_a_chain_is_one_revision_and_nothing_happens_before_it_is_applied(gateway):
    """All of it or, when one part makes no sense, none."""
    auth = gateway.auth_manager
    before = (await gateway.policy.load()).revision
    chain = auth.allow("a", "b").create_role("team", ["c"]).allow("role:team", "d").hold("a", "d")
    assert await allowed(gateway) == set()

    document = await chain.apply()

    assert document.revision == before + 1
    assert await allowed(gateway) == {"ab", "cd"}
    with pytest.raises(InvalidIdentifier):
        await auth.allow("b", "a").allow("b", "adm*").apply()
    with pytest.raises(RoleNotFound):
        await auth.allow("b", "a").assign_role("none", ["a"]).apply()
    with pytest.raises(UsageError):
        await auth.allow("b", "a", action="fly").apply()
    assert (await gateway.policy.load()).revision == document.revision


async def test_what_is_granted_is_what_the_gateway_does(gateway):
    """Grant, block, trust and take back again, with messages that really pass or not."""
    auth = gateway.auth_manager

    async def passes(sender="a", target="b"):
        agent = Agent(sender)
        agent.set_gateway(gateway)
        async with agent:
            try:
                await agent.send(target, "x", {})
            except Forbidden:
                return False
            return True

    assert not await passes()
    await auth.grant_permission("a", "b", action="send")
    assert await passes()
    await auth.block_agent("a", "Unusual activity detected")
    assert not await passes()
    await auth.unblock_agent("a").add_trusted_agent("c")
    assert await passes()
    assert await passes("c", "d")
    await auth.remove_trusted_agent("c").deny("a", "b", message_type="x")
    assert not await passes("c", "d")
    assert not await passes()
    document = await gateway.policy.load()
    assert {rule.source for rule in document.rules} == {"api"}


async def test_what_is_granted_for_a_time_ends(gateway):
    """By the server's clock, which is that of the rule."""
    document = await gateway.auth_manager.allow("a", "b", expires_in=60).apply()

    (rule,) = document.rules
    assert rule.expires - rule.created == 60_000


async def test_it_works_on_any_system(server_url):
    """An operator's program needs no gateway of its own, and is named in the history."""
    async with live_system(server_url, agents=["a", "b"]) as system:
        await AuthManager(system.system.policy).allow("a", "b").apply()
        agent = await system.run("a")
        await agent.send("b", "x", {})

        assert (await system.system.policy.history(1))[0].changed_by == system.system.actor


async def test_the_example_of_the_document_runs(capsys):
    """What docs/policy.md shows is what one can type."""
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1].replace("clinic", new_namespace())
    names = {}

    exec("async def example():\n" + textwrap.indent(example, "    "), names)  # noqa: S102 - our own document
    await names["example"]()

    assert capsys.readouterr().out == "True\n"
