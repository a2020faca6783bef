"""Instances come with the backlog and go with it: real processes, a real server."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.systems import LiveSystem, live_system
from support.waiting import until

from mas_core.ops import agents
from mas_core.ops.agent_runs import making_rounds
from mas_core.ops.standings import set_standing
from mas_core.runner import rounds
from mas_core.runner.launch import ConnectionFacts
from mas_core.runner.supervisor import Supervisor
from mas_core.settings.private_files import write_token
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config

pytestmark = pytest.mark.slow

WORKER = """
import asyncio, os
from pathlib import Path
from mas_core.agent import Agent

FOLDER = Path(__file__).parent.parent

class Worker(Agent):
    async def on_message(self, message):
        with (FOLDER / "ledger").open("a") as ledger:
            ledger.write(f"{os.getpid()} {message.data['n']}\\n")
        while not (FOLDER / "go").exists():
            await asyncio.sleep(0.02)
"""


@dataclass
class Run:
    """A project with one agent, and its supervisor."""

    live: LiveSystem
    folder: Path
    supervisor: Supervisor
    events: list = field(default_factory=list)

    @property
    def ledger(self):
        """Process and number of each message that was started."""
        path = self.folder / "ledger"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def states(self):
        return [info.state for info in self.supervisor.status()]

    async def send(self, *numbers):
        client = await self.live.client("boss")
        for number in numbers:
            await client.send("worker", "work", {"n": number})

    async def entry(self):
        return await self.live.system.registry.get("worker")


@contextlib.asynccontextmanager
async def running(live, folder, instances, drain_s=10.0):
    """The worker in so many instances, ready."""
    (folder / "agents.d").mkdir()
    (folder / "mas.yaml").write_text("name: test\n")
    (folder / "agents.d" / "worker.py").write_text(WORKER)
    (folder / "agents.d" / "worker.yaml").write_text(
        f"agent_id: worker\nclass_path: worker:Worker\nmax_in_flight: 1\ninstances: {instances}\n"
    )
    project = project_at(folder)
    write_token(project.tokens_dir, "worker", live.tokens["worker"])
    facts = ConnectionFacts(
        url=live.system.target.url, namespace=live.store.namespace, tokens_dir=str(project.tokens_dir)
    )
    run = Run(live, folder, None)
    specs = load_config(project).specs()
    run.supervisor = Supervisor(project, specs, facts, run.events.append, drain_s=drain_s)
    await run.supervisor.start()
    try:
        assert await run.supervisor.wait_ready(30) == []
        yield run
    finally:
        (folder / "go").touch()
        await run.supervisor.stop()


@pytest.fixture
async def live(server_url):
    """boss may send to worker."""
    async with live_system(server_url, agents=["boss", "worker"], allow=[("boss", "worker")]) as opened:
        yield opened


async def test_instances_come_with_a_backlog_and_go_without_one(live, tmp_path, monkeypatch):
    """Three for as long as much waits, one when nothing does; events and `agent describe` say why."""
    monkeypatch.setattr(rounds, "ROUND_S", 0.1)
    spec = "{min: 1, max: 3, target: 2, grow_after: 0.2, cool_down: 1}"
    async with running(live, tmp_path, spec) as run, making_rounds(run.supervisor, live.system):
        await run.send(*range(12))
        await until(lambda: run.states() == ["ready"] * 3, 30)

        assert len({info.pid for info in run.supervisor.status()}) == 3
        (told,) = await until(lambda: _is_told(live, count=3))
        assert (told.min, told.max) == (1, 3)
        first, second = [event.message for event in run.events if event.kind == "scaled"]
        assert first.startswith("2 instances instead of 1: at least ")
        assert second.startswith("3 instances instead of 2: at least ")

        (tmp_path / "go").touch()
        await until(lambda: run.states() == ["ready"], 30)

        (after,) = await until(lambda: _is_told(live, count=1))
        assert after.reason.startswith("one less was enough")
        assert len((await run.entry()).running(await live.store.records.time_ms())) == 1
        assert sorted(int(number) for _, number in run.ledger) == list(range(12))


async def test_an_instance_that_goes_finishes_what_it_has_in_hand(live, tmp_path):
    """However long that takes: its time to drain does not count; it takes nothing new, and nothing runs twice."""
    async with running(live, tmp_path, "{min: 1, max: 3, target: 1}", drain_s=0.2) as run:
        await run.supervisor.scale("worker", 3, "a test")
        await until(lambda: run.states() == ["ready"] * 3, 30)
        numbers = iter(range(100))
        sent = []
        while len({process for process, _ in run.ledger}) < 3:
            sent.append(next(numbers))
            await run.send(sent[-1])
        stays = run.supervisor.status()[0].pid

        await run.supervisor.scale("worker", 1, "a test")

        now = await live.store.records.time_ms()
        await until(lambda: _draining(run, now), 10)
        started = {number for process, number in run.ledger}
        assert run.states() == ["ready", "draining", "draining"]
        later = [next(numbers) for _ in range(5)]
        await run.send(*later)
        (tmp_path / "go").touch()
        await until(lambda: run.states() == ["ready"], 30)
        await until(lambda: len(run.ledger) == len(sent) + len(later))

        assert started < {number for _, number in run.ledger}
        assert sorted(int(number) for _, number in run.ledger) == [*sent, *later]
        assert {int(process) for process, number in run.ledger if int(number) in later} == {stays}


async def test_stopping_does_not_wait_for_an_instance_that_goes(live, tmp_path):
    """What has no limit of its own is ended with everything else, in the time that everything has."""
    async with running(live, tmp_path, "{min: 0, max: 1, target: 1}", drain_s=0.2) as run:
        await run.supervisor.scale("worker", 1, "a test")
        await until(lambda: run.states() == ["ready"], 30)
        await run.send(1)
        await until(lambda: run.ledger)
        await run.supervisor.scale("worker", 0, "a test")
        await until(lambda: run.states() == ["draining"])

        await run.supervisor.stop()

        assert run.states() == []


async def _draining(run, now):
    return [item.status for item in (await run.entry()).running(now)].count("draining") == 2


async def test_a_paused_agent_gets_no_more_instances(live, tmp_path, monkeypatch):
    """What waits because an operator wants it to wait calls for nobody."""
    monkeypatch.setattr(rounds, "ROUND_S", 0.05)
    async with running(live, tmp_path, "{min: 1, max: 3, target: 1, grow_after: 0}") as run:
        client = await live.client("boss")
        await client.send_many("worker", "work", [{"n": n} for n in range(10)])
        await until(lambda: run.ledger)
        await set_standing(live.system, ["worker"], "paused", reason="a look")
        async with making_rounds(run.supervisor, live.system):
            await until(lambda: _is_told(live), 10)

            assert run.states() == ["ready"]
            await set_standing(live.system, ["worker"], "active")
            await until(lambda: len(run.states()) > 1, 30)


async def _is_told(live, count=1):
    """What the runner says of the worker, once that is so many instances."""
    told = (await agents.describe(live.system, "worker")).summary.scaling
    return told if [item.count for item in told] == [count] else ()
