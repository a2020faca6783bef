"""The state of an agent: typed or plain, kept on the server, changed once for each message."""

import asyncio

import pytest
from pydantic import BaseModel, Field
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core import RetryPolicy
from mas_core.agent import Agent
from mas_core.errors import InvalidPayload, StateChanged, StateInvalid, StoreUnreachable
from mas_core.ops import state as states


class Count(BaseModel):
    total: int = Field(default=0, ge=0)
    label: str = "none"


class Counter(Agent[Count]):
    @Agent.on("count.add")
    async def add(self, message, payload):
        await self.update_state({"total": self.state.total + payload["n"]})
        return {"total": self.state.total}

    @Agent.on("count.spoil")
    async def spoil(self, message):
        await self.update_state({"label": "spoiled"})
        raise RuntimeError("after the change")

    @Agent.on("count.invalid")
    async def invalid(self, message):
        try:
            await self.update_state({"total": -1})
        except InvalidPayload:
            return {"total": self.state.total}

    @Agent.on("count.look")
    async def look(self, message):
        return {"total": self.state.total, "label": self.state.label}

    @Agent.on("count.reset")
    async def reset(self, message):
        await self.reset_state()


@pytest.fixture
async def system(every_url):
    """alice may talk to the counter."""
    async with live_system(every_url, agents=["alice", "counter"], allow=[("alice", "counter")]) as opened:
        yield opened


async def test_a_new_agent_has_the_defaults_of_its_model(system):
    """The model comes from `Agent[Model]`, or as an argument; without one the state is a dict."""
    assert (await system.run("counter", Counter)).state == Count()
    assert (await system.run("alice", state_model=Count)).state == Count()
    assert (await system.run("alice")).state == {}


async def test_an_update_is_kept_over_restarts(system):
    """A new instance loads what the last one left."""
    async with system.agent("counter", Counter) as counter:
        await counter.update_state({"total": 5})
        assert counter.state.total == 5

    async with system.agent("counter", Counter) as counter:
        assert counter.state == Count(total=5)


async def test_a_plain_dict_is_merged(system):
    """Other fields stay."""
    async with system.agent("alice") as alice:
        await alice.update_state({"a": 1, "b": [1]})
        await alice.update_state({"b": [2]})

    async with system.agent("alice") as alice:
        assert alice.state == {"a": 1, "b": [2]}


@pytest.mark.parametrize("changes", [{"total": -1}, {"total": "many"}, {"label": None}])
async def test_an_update_that_does_not_validate_changes_nothing(system, changes):
    """Neither here nor on the server (G5)."""
    async with system.agent("counter", Counter) as counter:
        await counter.update_state({"total": 3, "label": "x"})
        with pytest.raises(InvalidPayload, match="the state does not fit Count"):
            await counter.update_state({"total": 4, **changes})
        assert counter.state == Count(total=3, label="x")
        await counter.refresh_state()
        assert counter.state == Count(total=3, label="x")


async def test_a_value_that_json_cannot_say_changes_nothing(system):
    """A plain dict is checked too."""
    async with system.agent("alice") as alice:
        with pytest.raises(InvalidPayload):
            await alice.update_state({"x": object()})
        assert alice.state == {}


async def test_a_reset_brings_the_defaults_back(system):
    """On the server too."""
    async with system.agent("counter", Counter) as counter:
        await counter.update_state({"total": 3})
        await counter.reset_state()
        assert counter.state == Count()

    async with system.agent("counter", Counter) as counter:
        assert counter.state == Count()


async def test_a_refresh_shows_what_another_instance_did(system):
    """Until then the old state is seen."""
    one, two = [await system.run("counter", Counter) for _ in range(2)]
    await one.update_state({"total": 7})
    assert two.state.total == 0

    await two.refresh_state()

    assert two.state.total == 7


async def test_updates_of_two_instances_build_on_each_other(system):
    """Outside of handlers: whoever is late reads again before it writes."""
    one, two = [await system.run("alice") for _ in range(2)]

    await asyncio.gather(
        *(
            agent.update_state({f"{name}{number}": number})
            for number in range(4)
            for agent, name in ((one, "a"), (two, "b"))
        )
    )

    await one.refresh_state()
    assert len(one.state) == 8


async def test_a_stored_state_that_does_not_fit_is_said_at_the_start(system):
    """A model that changed is not given data that it does not know."""
    await system.store.agent("counter").set_state(None, b'{"total":"many"}')

    with pytest.raises(StateInvalid, match="the state does not fit Count: total"):
        await system.agent("counter", Counter).start()


async def test_a_stored_state_that_does_not_fit_costs_no_message(system, caplog, monkeypatch):
    """Each change comes again until the state is right; the log says what is wrong, and no sender is to blame."""
    monkeypatch.setattr("mas_core.agent.agent.STATE_LOOK_S", 0.1)
    counter = await system.run("counter", Counter, retry=RetryPolicy(attempts=100, base=0.2, max_delay=0.2))
    alice = await system.run("alice")
    await alice.request("counter", "count.add", {"n": 1})
    await states.set_part(system.system, "counter", "total", "many")

    await alice.send("counter", "count.add", {"n": 2})
    with pytest.raises(StateInvalid, match="the state does not fit Count: total") as caught:
        await alice.request("counter", "count.add", {"n": 4})

    assert caught.value.retryable
    (problem,) = await states.refusals(system.system, "counter", 2, wait_s=30)
    assert problem.startswith("the state does not fit Count: total")
    assert counter.state.total == 1
    await until(lambda: "state.refused" in caplog.text)
    await states.set_part(system.system, "counter", "total", 10)
    assert await states.refusals(system.system, "counter", 3, wait_s=30) == []
    await until(lambda: counter.state.total == 12)
    assert await system.store.records.dead_letters() == 0


async def test_handlers_see_and_change_the_state(system):
    """What one message left the next one finds; a reset in a handler counts too."""
    counter = await system.run("counter", Counter)
    alice = await system.run("alice")

    totals = [(await alice.request("counter", "count.add", {"n": 2})).data["total"] for _ in range(3)]
    await alice.send("counter", "count.reset", {})
    await until(lambda: counter.state.total == 0)

    assert totals == [2, 4, 6]
    assert (await alice.request("counter", "count.look", {})).data["total"] == 0


async def test_a_handler_that_fails_after_a_change_changed_nothing(system):
    """State and message belong together."""
    counter = await system.run("counter", Counter)
    alice = await system.run("alice")

    with pytest.raises(Exception, match="RuntimeError"):
        await alice.request("counter", "count.spoil", {})

    assert (await alice.request("counter", "count.look", {})).data["label"] == "none"
    assert counter.state == Count()


async def test_an_invalid_update_in_a_handler_changes_nothing(system):
    """The handler may go on with the state that it had."""
    await system.run("counter", Counter)
    alice = await system.run("alice")
    await alice.request("counter", "count.add", {"n": 3})

    assert (await alice.request("counter", "count.invalid", {})).data == {"total": 3}


async def test_a_counter_is_exact_over_two_instances_that_work_at_the_same_time(system):
    """Handlers whose state was changed by the other instance run again, so none is lost or counted twice."""
    await asyncio.gather(*(system.run("counter", Counter) for _ in range(2)))
    alice = await system.run("alice")

    await asyncio.gather(*(alice.send("counter", "count.add", {"n": 1}) for _ in range(50)))
    for _ in range(50):
        await alice.send("counter", "count.add", {"n": 1})

    async def settled():
        return sum((await system.store.agent("counter").backlog()).values()) == 0

    await until(settled, seconds=30)
    revision, text = await system.store.agent("counter").get_state()
    assert text == b'{"total":100,"label":"none"}'
    assert revision == 100


async def test_replies_tell_states_that_came_to_be(system):
    """Each of many concurrent requests is answered with another total."""
    await system.run("counter", Counter)
    alice = await system.run("alice")

    replies = await asyncio.gather(*(alice.request("counter", "count.add", {"n": 1}) for _ in range(40)))

    assert sorted(reply.data["total"] for reply in replies) == list(range(1, 41))


async def test_an_operator_and_an_agent_do_not_overwrite_each_other(system):
    """Compare and set on the same revision."""
    counter = await system.run("counter", Counter)
    await counter.update_state({"total": 1})
    store = system.store.agent("counter")
    revision, _ = await store.get_state()

    await counter.update_state({"total": 2})

    assert await store.set_state(revision, b'{"total":99}') == (False, revision + 1)


async def test_a_state_that_others_change_all_the_time_is_an_error_not_a_loop(system):
    """Outside of handlers an update gives up after some attempts and says so."""
    counter = await system.run("alice")
    store = system.store.agent("alice")
    agent_store = counter._keeper._store

    original = agent_store.set_state

    async def interfere(expected, data, **options):
        await store.set_state(None, b"{}")
        return await original(expected, data, **options)

    agent_store.set_state = interfere
    with pytest.raises(StateChanged):
        await counter.update_state({"x": 1})


async def test_a_handler_that_waits_for_another_message_of_its_own_is_not_stuck(system):
    """Handlers that do not change the state run beside those that do."""

    class Slow(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            if message.message_type == "first":
                await self.update_state({"seen": 1})
                await until(lambda: len(self.messages) >= 3)

    await system.register("slow")
    await system.allow(("alice", "slow"))
    slow = await system.run("slow", Slow)
    alice = await system.run("alice")
    await alice.send("slow", "first", {})
    await alice.send("slow", "second", {})

    await until(lambda: slow.state == {"seen": 1})


async def test_a_lost_answer_about_a_state_does_not_run_the_handler_again(system, monkeypatch):
    """The settlement was carried out, so asking again finds a revision that has grown by it."""
    runs = []

    class Counting(Counter):
        @Agent.on("count.add")
        async def add(self, message, payload):
            await self.update_state({"total": self.state.total + payload["n"]})
            runs.append(payload["n"])

    counter = await system.run("counter", Counting)
    alice = await system.client("alice")
    store = counter._dispatch._settler._store
    settle = store.settle
    lost = []

    async def forgetful(consumer, batch):
        answer = await settle(consumer, batch)
        if not lost:
            lost.append(answer)
            raise StoreUnreachable("the answer is lost")
        return answer

    monkeypatch.setattr(store, "settle", forgetful)
    await alice.send("counter", "count.add", {"n": 1})
    await until(lambda: counter.state.total == 1)
    await alice.send("counter", "count.add", {"n": 2})
    await until(lambda: counter.state.total == 3)

    assert lost == [[1]]
    assert runs == [1, 2]
