"""The number of partitions is changed while a system runs; nothing is lost, doubled or out of order."""

import asyncio
import os
import signal
import sys

import pytest
from support.systems import REMOTE, Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.agent.leadership import Leadership
from mas_core.agent.supervisor import Supervisor
from mas_core.base.ids import partition_of
from mas_core.errors import Conflict, Forbidden, InvalidPayload, UsageError
from mas_core.ops import dead_letters, leaders, partitions
from mas_core.ops.dead_letter_views import Wanted, list_letters, payload
from mas_core.ops.system import System
from mas_core.store.keys import Layout

RESOURCES = ("leader:>", "task:>")
NAMES = [f"agent{number}" for number in (1, 2, 3, 4, 5, 8, 9, 10)]


class Counting(Recorder):
    """Keeps every message, and counts in its state how many there were."""

    async def on_message(self, message):
        """Count it."""
        await super().on_message(message)
        await self.update_state({"count": self.state.get("count", 0) + 1})


class Echo(Agent):
    """Answers with what it was asked."""

    async def on_message(self, message):
        """Give it back."""
        return message.data


def system_of(url, **options):
    """Agents in every partition of four, who may all be written to."""
    return live_system(
        url,
        agents=["alice", "carol", "echo", "asleep", *NAMES],
        allow=[("alice", "*"), ("carol", "*")],
        **options,
    )


async def sent_until(stop, sender, name, acknowledged):
    """Send numbered messages, one after the other, until told to stop."""
    number = 0
    while not stop.is_set():
        number += 1
        await sender.send(name, "x", {"n": number})
        acknowledged[name] = number
        await asyncio.sleep(0.01)


async def asked_until(stop, asker):
    """Ask until told to stop; how often."""
    number = 0
    while not stop.is_set():
        number += 1
        assert (await asker.request("echo", "x", {"n": number}, timeout=30)).data == {"n": number}
        await asyncio.sleep(0.01)
    return number


async def test_from_one_to_four_and_back_under_load(server_url):
    """Senders, askers and agents follow by themselves; each message once and in order; every chain verifies."""
    assert {partition_of(name, 4) for name in NAMES} == {0, 1, 2, 3}
    async with system_of(server_url, gateways=2) as system:
        receivers = {name: await system.run(name, Counting) for name in NAMES}
        await system.run("echo", Echo)
        alice, carol = await system.run("alice"), await system.run("carol")
        for number in range(5):
            await alice.send("asleep", "x", {"n": number})
        stop, acknowledged = asyncio.Event(), {}
        sending = [asyncio.create_task(sent_until(stop, alice, name, acknowledged)) for name in NAMES]
        asking = asyncio.create_task(asked_until(stop, carol))
        await until(lambda: len(acknowledged) == len(NAMES))

        for count in (4, 1):
            before = dict(acknowledged)
            async with System(system.system.target) as operator:
                await partitions.set_partitions(operator, count)
                found = await partitions.list_partitions(operator)
            assert [row.state for row in found.rows if row.partition < count] == ["open"] * count
            await until(
                lambda before=before: all(acknowledged[name] > before[name] + 5 for name in NAMES), seconds=30
            )
        stop.set()
        await asyncio.gather(*sending)
        assert await asking > 2
        asleep = await system.run("asleep")
        await until(lambda: asleep.numbers == list(range(5)))
        for name, receiver in receivers.items():
            # A handler that changes the state for the first time runs once more, alone.
            expected = list(range(1, acknowledged[name] + 1))
            await until(lambda agent=receiver, last=acknowledged[name]: agent.state.get("count", 0) >= last)
            assert list(dict.fromkeys(receiver.numbers)) == expected
            assert receiver.state["count"] == len(expected)

        layout = await system.store.layouts.follow()
        assert (layout.number, layout.partitions, layout.width) == (3, 1, 4)
        assert await system.audit_holds()
        delivered = [
            (record.target, record.message_id)
            for record in await system.audit(kind="message", decision="allowed", type="x")
        ]
        assert len(delivered) == len(set(delivered))
        chains = {number for number in range(4) if (await system.store.records.audit_head(number))[0]}
        assert chains == {0, 1, 2, 3}


class Refusing(Recorder):
    """Takes no message, for good or for now."""

    error: type[Exception] | None = InvalidPayload

    async def on_message(self, message):
        """Refuse it, or keep it."""
        if self.error is not None:
            raise self.error("no")
        return await super().on_message(message)


async def letters(system, *, dropped=False):
    """Target -> its dead letter."""
    found = await list_letters(system, Wanted(dropped=dropped))
    assert found.unreadable == []
    return {letter.facts.target: letter for letter in found.letters}


async def test_what_waits_for_later_and_what_was_given_up_moves_along(server_url):
    """Retries come; dead letters are read, restored and delivered where their agents are now."""
    dead, late = NAMES[:4], NAMES[4:]
    async with system_of(server_url) as system:
        alice = await system.run("alice")
        agents = {name: await system.run(name, Refusing) for name in NAMES}
        for name in late:
            agents[name].error = RuntimeError
        for name in NAMES:
            await alice.send(name, "x", {"n": 1})

        async def are_all_there():
            waiting = [await system.store.records.waiting_retries(0, name) for name in late]
            return sorted(await letters(system.system)) == sorted(dead) and all(waiting)

        await until(are_all_there)
        for agent in agents.values():
            agent.error = None
        first = (await letters(system.system))[dead[0]]
        await dead_letters.drop(system.system, [first.id])

        async with System(system.system.target) as operator:
            await partitions.set_partitions(operator, 4)
            await until(lambda: all(agents[name].numbers == [1] for name in late), seconds=20)
            dropped = await letters(operator, dropped=True)
            kept = await letters(operator)
            assert (set(dropped), set(kept)) == ({dead[0]}, set(dead[1:]))
            moved = {**dropped, **kept}
            assert {name: letter.id.partition(":")[0] for name, letter in moved.items()} == {
                name: str(partition_of(name, 4)) for name in dead
            }
            assert await payload(operator, moved[dead[1]].id) == {"n": 1}
            done = await dead_letters.restore(operator, [dropped[dead[0]].id])
            done += await dead_letters.retry(operator, [letter.id for letter in moved.values()])
            assert [one.error for one in done] == [None] * 5
            await until(lambda: all(agents[name].numbers == [1] for name in dead))
            assert await letters(operator) == {}
        assert await system.audit_holds()


KILLED = """
import asyncio, sys
from pathlib import Path
from mas_core.ops.partitions import set_partitions
from mas_core.ops.system import System
from mas_core.settings.target import Target

async def main():
    url, namespace, keys, count = sys.argv[1:]
    async with System(Target(url, namespace=namespace, keys_dir=Path(keys))) as system:
        await set_partitions(system, int(count))

asyncio.run(main())
"""


PLACES = ["agent_moved:3", "due_moved", "letters_written", "letters_moved", "opened"]


async def test_what_was_agreed_moves_along(server_url):
    """Terms go on where they were, tasks stay assigned, and former leaders stay shut out."""
    groups, ids = [f"group{number}" for number in range(8)], [f"task{number}" for number in range(8)]
    async with system_of(server_url) as system:
        await system.allow(*(("alice", resource) for resource in RESOURCES))
        alice = await system.client("alice")
        first = [Leadership(alice, group, lease=60) for group in groups]
        for leading in first:
            await leading.campaign()
        fences = {leading.group: leading.headers for leading in first}
        for number, name in enumerate(ids):
            await Supervisor(alice, f"queue{number}").assign("work", task_id=name, timeout=600)
        await asyncio.gather(*(leading.resign() for leading in first))

        for count in (4, 1, 3):
            await partitions.set_partitions(system.system, count)
            terms = {group.name: group.term for group in await leaders.groups(system.system)}
            assert terms == dict.fromkeys(groups, 1)

        for number, name in enumerate(ids):
            assert (await Supervisor(alice, f"queue{number}").get(name)).status == "waiting"
        again = await system.client("alice")
        for group in groups:
            later = Leadership(again, group, lease=60)
            await later.campaign()
            assert later.term == 2
            await again.send("asleep", "x", {}, headers=later.headers)
            with pytest.raises(Forbidden):
                await again.send("asleep", "x", {}, headers=fences[group])


class Worker(Agent):
    """Does whatever task there is."""

    @Agent.task("work")
    async def work(self, task, _wanted=None):
        """Say who did it."""
        return {"by": self.id}


@pytest.mark.parametrize("prefix", ["", REMOTE])
async def test_those_who_only_wait_follow(server_url, prefix):
    """Instances with stores of their own: one that leads, one that sends to many, and two that do nothing."""
    async with system_of(prefix + server_url) as system:
        await system.allow(*((name, resource) for name in ("alice", "carol") for resource in RESOURCES))
        alice, carol = await system.client("alice"), await system.client("carol")
        idle = [await system.client(name) for name in ("agent2", "agent1")]
        assert [partition_of(client.agent_id, 4) for client in idle] == [0, 1]
        groups = [f"group{number}" for number in range(3)]
        leading = [Leadership(alice, group, lease=60) for group in groups]
        for leader in leading:
            await leader.campaign()
        task = await Supervisor(alice).assign("work")

        async with System(system.system.target) as operator:
            await partitions.set_partitions(operator, 4)
        receipts = await alice.send_to_all(NAMES, "x", {})
        assert {receipt.decision for receipt in receipts} == {"allowed"}
        await until(lambda: {client._store.partitions for client in idle} == {4}, seconds=5)

        async with asyncio.timeout(10):
            worker = await system.run("carol", Worker)
            assert await Supervisor(alice).result(task) == {"by": worker.id}
            for leader in leading:
                await leader.resign()
            following = [Leadership(carol, group, lease=60) for group in groups]
            assert await asyncio.gather(*(leader.campaign() for leader in following)) == [True] * 3
            assert [leader.term for leader in following] == [2] * 3


async def test_a_log_where_none_belongs_replaces_no_other(server_url):
    """What a subscriber makes that knows another layout is not what messages are in."""
    async with system_of(server_url, partitions=3) as system:
        await system.allow(("alice", "topic:news"))
        alice = await system.client("alice")
        await alice.publish("news", {"n": 1})
        right = partition_of("topic:news", 3)
        for partition in {0, 1, 2} - {right}:
            await system.store.topics.create_group(partition, "news", "alice/news", "0-0")
        await partitions.set_partitions(system.system, 2)
        async with alice.subscribe("news", start="beginning") as messages, asyncio.timeout(10):
            assert (await anext(aiter(messages))).data == {"n": 1}


@pytest.mark.parametrize("place", PLACES)
async def test_a_change_that_was_killed_is_finished_by_the_same_command(server_url, place):
    """Messages wait meanwhile and come once; another number is refused until then."""
    async with system_of(server_url) as system:
        receivers = [await system.run(name, Refusing) for name in NAMES]
        refusing = next(agent for agent in receivers if partition_of(agent.id, 4) != 0)
        for agent in receivers:
            agent.error = InvalidPayload if agent is refusing else None
        alice = await system.run("alice")
        for name in NAMES:
            await alice.send(name, "x", {"n": 1})

        async def is_dead():
            return list(await letters(system.system)) == [refusing.id]

        await until(is_dead)
        refusing.error = None
        target = system.system.target
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, target.url, target.namespace, str(target.keys_dir), "4",
            env={**os.environ, "MAS_TESTING": "1", "MAS_FAILPOINT": f"partitions.{place}"},
        )  # fmt: skip
        assert await process.wait() == -signal.SIGKILL
        sending = [asyncio.create_task(alice.send(name, "x", {"n": 2})) for name in NAMES]
        async with System(target) as operator:
            with pytest.raises(Conflict, match="a change to 4 partitions was begun"):
                await partitions.set_partitions(operator, 3)
            with pytest.raises(Conflict, match="is being changed"):
                await system.allow(("carol", "alice"))
            assert {row.state for row in (await partitions.list_partitions(operator)).rows} == {"closed"}
            await partitions.set_partitions(operator, 4)
        await asyncio.gather(*sending)

        await until(
            lambda: all(agent.numbers == ([2] if agent is refusing else [1, 2]) for agent in receivers),
            seconds=20,
        )
        async with System(target) as operator:
            found = await list_letters(operator, Wanted())
            assert [letter.facts.target for letter in found.letters] == [refusing.id]
        assert (await system.store.layouts.follow()) == Layout(2, 4, 4)
        assert await system.audit_holds()


async def test_what_cannot_be_changed_is_refused_before_anything_is(server_url):
    """Impossible numbers, and messages that wait for approval by agents that would move."""
    async with system_of(server_url) as system:
        with pytest.raises(UsageError, match="1 to 1024"):
            await partitions.set_partitions(system.system, 0)
        nothing = await partitions.set_partitions(system.system, 1)
        planned = await partitions.plan(system.system, 4)

        assert not nothing.is_change
        assert (planned.agents, planned.moving > 0, planned.gateways) == (12, True, 1)
        assert (await system.store.layouts.read()).number == 1


async def test_partitions_are_changed_on_a_cluster(cluster):
    """From two to five and to three: what moves goes from server to server, and comes once."""
    async with system_of(cluster.url, partitions=2) as system:
        alice = await system.run("alice")
        receivers = [await system.run(name, Counting) for name in NAMES]
        for name in (*NAMES, "asleep"):
            await alice.send(name, "x", {"n": 1})
        for number, count in enumerate((5, 3), 2):
            async with System(system.system.target) as operator:
                await partitions.set_partitions(operator, count)
            for name in NAMES:
                await alice.send(name, "x", {"n": number})

        asleep = await system.run("asleep")
        await until(lambda: asleep.numbers == [1])
        await until(lambda: all(agent.state.get("count") == 3 for agent in receivers), seconds=20)
        assert {tuple(dict.fromkeys(agent.numbers)) for agent in receivers} == {(1, 2, 3)}
        await system.store.layouts.follow()
        assert await system.audit_holds()
