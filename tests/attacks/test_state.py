"""What agents and payloads try with states (S40)."""

import asyncio

import pytest
from pydantic import BaseModel
from support.systems import Recorder, live_system

from mas_core import Agent
from mas_core.errors import InvalidPayload, StateChanged
from mas_core.ops import state as states


class Balance(BaseModel):
    """A state with a model."""

    amount: int = 0


class Account(Agent[Balance]):
    """Keeps a balance."""


@pytest.fixture
async def system(any_url):
    """Two agents."""
    async with live_system(any_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


async def test_s40_an_agent_reaches_its_own_state_only(system):
    """Whatever keys it uses: names of other agents and of records are plain keys of its own state."""
    alice, bob = await system.run("alice"), await system.run("bob")
    await bob.update_state({"secret": 1})

    await alice.update_state({"bob": {"secret": 2}, "../bob": 3, "mas:{0}:state:bob": 4, "*": 5})
    await bob.refresh_state()

    assert bob.state == {"secret": 1}
    assert (await states.get(system.system, "bob")).value == {"secret": 1}


@pytest.mark.parametrize(
    "name", ["__class__", "__dict__", "model_fields", "__pydantic_private__", "model_config"]
)
async def test_s40_keys_that_python_knows_are_plain_data(system, name):
    """In a dict they are keys like others; a model does not take them, and keeps its class."""
    alice = await system.run("alice")
    account = await system.run("bob", Account)

    await alice.update_state({name: {"__init__": "x"}})
    await account.update_state({name: "x", "amount": 5})

    assert alice.state == {name: {"__init__": "x"}}
    assert type(alice.state) is dict
    assert type(account.state) is Balance
    assert account.state.model_dump() == {"amount": 5}
    assert (await states.get(system.system, "bob")).value == {"amount": 5}


async def test_s40_a_state_of_100_megabytes_is_refused_and_nothing_changes(system):
    """By its size, before it goes anywhere; inside a handler it is the failure of that message."""

    class Greedy(Recorder):
        async def on_message(self, message):
            await self.update_state({"blob": "x" * 2_000_000})

    alice = await system.run("alice")
    await alice.update_state({"kept": True})

    with pytest.raises(InvalidPayload, match="at most 1,000,000 are kept"):
        await alice.update_state({"blob": "x" * 100_000_000})
    bob = await system.run("bob", Greedy)
    with pytest.raises(InvalidPayload, match="at most 1,000,000 are kept"):
        await alice.request("bob", "grow", {})

    assert alice.state == {"kept": True}
    assert (await states.get(system.system, "alice")).value == {"kept": True}
    assert bob.state == {}


async def test_s40_concurrent_updates_lose_nothing(system):
    """Two instances and an operator at once: each change is made on the latest revision, or refused."""
    first, second = await system.run("alice"), await system.run("alice")

    async def add(agent, name):
        for number in range(20):
            await agent.update_state({f"{name}{number}": number})

    await asyncio.gather(add(first, "a"), add(second, "b"))
    found = await states.get(system.system, "alice")

    assert len(found.value) == 40
    with pytest.raises(StateChanged):
        await states.set_part(system.system, "alice", "x", 1, if_revision=found.revision - 1)
