"""Trimming a queue: what waits becomes dead letters, and nothing is dropped, forged or taken from an instance."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import AgentNotFound, GatewayDown, UsageError
from mas_core.model.dead_letter import due_purpose
from mas_core.model.queue_order import TRIMMER, trim_name
from mas_core.ops import dead_letters, queue_trims, queues
from mas_core.security.seals import AtRest
from mas_core.store.queues import FIRST, NewTrim


class Holding(Recorder):
    """Keeps every message in hand until it is let go."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gate = asyncio.Event()

    async def on_message(self, message):
        await super().on_message(message)
        await self.gate.wait()


@pytest.fixture
async def system(server_url):
    """alice may talk to the worker, which does not run."""
    async with live_system(server_url, agents=["alice", "worker"], allow=[("alice", "worker")]) as opened:
        yield opened


async def send(system, count, first=0):
    """Messages one by one, so that each lies in a frame of its own."""
    alice = await system.client("alice")
    for number in range(first, first + count):
        await alice.send("worker", "job.run", {"n": number})


async def waiting(system):
    return [row.payload["n"] for row in await queues.inspect(system.system, "worker", most=0)]


async def letters(system):
    """Numbers of the trimmed messages, in the order in which they became dead letters."""
    found = await dead_letters.list_letters(system.system)
    assert found.unreadable == []
    assert all(letter.facts.code == "trimmed" for letter in found.letters)
    return [(await dead_letters.payload(system.system, letter.id))["n"] for letter in reversed(found.letters)]


async def test_trimming_moves_the_oldest_to_the_dead_letters_and_drops_nothing(system):
    """The newest stay, the others can be delivered again, and each is in the audit."""
    await send(system, 20)
    planned = await queue_trims.plan(system.system, "worker", keep=3)
    assert (planned.messages, planned.stay) == (17, 3)
    assert await waiting(system) == list(range(20))

    done = await queue_trims.trim(system.system, planned, note="too old")
    assert (done.moved, done.left, done.problem) == (17, 0, "")
    assert await waiting(system) == [17, 18, 19]
    assert await letters(system) == list(range(17))
    found = (await queues.look(system.system, ["worker"])).queues["worker"]
    assert (found.total.waiting, found.total.in_hand, found.left) == (3, 0, 17)
    assert len(await system.audit(kind="delivery.dead")) == 17
    trimmed = await system.audit(kind="bus.trimmed", target="worker")
    assert sum(record.details["messages"] for record in trimmed) == 17
    assert {(record.actor, record.reason) for record in trimmed} == {(system.system.actor, "too old")}
    await until(lambda: operators_act_is_recorded(system))
    assert await system.audit_holds()

    worker = await system.run("worker")
    await until(lambda: worker.numbers == [17, 18, 19])
    dead = [letter.id for letter in (await dead_letters.list_letters(system.system)).letters]
    await dead_letters.retry(system.system, dead[::-1])
    await until(lambda: len(worker.numbers) == 20)
    assert sorted(worker.numbers) == list(range(20))


async def operators_act_is_recorded(system):
    acts = [
        item
        for item in await system.audit(kind="operator")
        if "bus.trim" in (item.type, item.details.get("action"))
    ]
    return {item.decision for item in acts} == {"begun", "done"}


async def test_what_an_instance_has_in_hand_is_left_to_it(system):
    """Trimming never makes a message both handled and dead."""
    await send(system, 3)
    worker = await system.run("worker", Holding)
    await until(lambda: len(worker.messages) == 3)

    planned = await queue_trims.plan(system.system, "worker", keep=0)
    assert planned.messages == 0
    assert (await queue_trims.trim(system.system, planned)).moved == 0
    worker.gate.set()

    # Read by an instance after it was planned: it is left to it too.
    await worker.stop()
    await send(system, 2, first=3)
    planned = await queue_trims.plan(system.system, "worker", keep=0)
    assert planned.messages == 2
    other = await system.run("worker")
    await until(lambda: other.numbers == [3, 4])
    assert (await queue_trims.trim(system.system, planned)).moved == 0
    assert await letters(system) == []


async def test_only_what_is_old_enough_goes(system):
    """By age, by lane; neither is an error."""
    await send(system, 2)
    assert (await queue_trims.plan(system.system, "worker", older_s=3600)).messages == 0
    assert (await queue_trims.plan(system.system, "worker", keep=0, lanes=["high"])).messages == 0
    assert (await queue_trims.plan(system.system, "worker", older_s=0)).messages == 2
    with pytest.raises(UsageError):
        await queue_trims.plan(system.system, "worker")
    with pytest.raises(AgentNotFound):
        await queue_trims.plan(system.system, "nobody", keep=0)


async def test_without_a_gateway_nothing_is_taken(system):
    """Only owners move messages."""
    await send(system, 2)
    planned = await queue_trims.plan(system.system, "worker", keep=0)
    await system.gateways[0].stop()

    with pytest.raises(GatewayDown):
        await queue_trims.trim(system.system, planned)
    assert await waiting(system) == [0, 1]
    assert (await queues.look(system.system, ["worker"])).queues["worker"].total.in_hand == 0


async def test_an_operator_who_dies_with_frames_in_hand_loses_none(system):
    """The next trimming goes on with them, and instances take them over as from one that is gone."""
    await send(system, 3)
    planned = await queue_trims.plan(system.system, "worker", keep=0)
    last = planned.last["normal"]
    taken = await system.store.queues.take("worker", "normal", FIRST, last, 2)
    assert len(taken) == 2

    claimed = await system.store.agent("worker").claim("0123456789abcdef", 0, 1)
    assert [frame.entry for frame in claimed] == taken[:1]

    done = await queue_trims.trim(system.system, planned)
    assert done.moved == 2
    assert await letters(system) == [1, 2]


async def test_orders_that_no_operator_gave_move_nothing(system):
    """Made up, made for another frame, or for a frame in the hands of an instance: refused and recorded."""
    await send(system, 2)
    store, at_rest = system.store, AtRest(system.keys.at_rest_key)
    last = (await queue_trims.plan(system.system, "worker", keep=0)).last["normal"]
    first, second = await store.queues.take("worker", "normal", FIRST, last, 2)
    copied = at_rest.seal(due_purpose(0, trim_name("worker", "normal", second)), b"\x94\xa1a\xa1b\x01\xa0")

    placed = await store.queues.order_trims("worker", [NewTrim("a", "normal", first, b"made up")])
    assert placed == [True]
    await until(lambda: refused(system, 1))
    await store.queues.order_trims("worker", [NewTrim("b", "normal", first, copied)])
    await until(lambda: refused(system, 2))
    # Played back long after it was given.
    await store.queues.order_trims("worker", [NewTrim("c", "normal", second, copied)])
    await until(lambda: refused(system, 3))

    assert await waiting(system) == [0, 1]
    assert await letters(system) == []
    assert {row.consumer for row in await queues.inspect(system.system, "worker")} == {TRIMMER}
    decisions = [record.decision for record in await system.audit(kind="bus.refused")]
    assert decisions == ["unauthenticated", "unauthenticated", "expired"]


async def refused(system, count):
    return len(await system.audit(kind="bus.refused")) == count


async def test_a_frame_that_no_gateway_sealed_is_moved_nowhere(system):
    """It stays for its agent to refuse; the rest goes."""
    inbox = system.store.keys.inbox(0, "worker", "normal")
    await system.store.connection.call("XADD", inbox, "*", "h", b"x", "b", b"y")
    await send(system, 1)

    done = await queue_trims.trim(system.system, await queue_trims.plan(system.system, "worker", keep=0))
    assert (done.moved, done.left) == (1, 1)
    assert "no gateway sealed it" in done.problem
    assert await letters(system) == [0]
