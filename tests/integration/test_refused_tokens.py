"""Agents whose token counts no more end and say why; the supervisor starts them with the token file of now."""

import asyncio
import re

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import AgentNotFound, TokenExpired, TokenInvalid, TokenRevoked
from mas_core.ops import agents
from mas_core.runner.launch import ConnectionFacts
from mas_core.runner.supervisor import Supervisor
from mas_core.settings.private_files import write_token
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config

BEAT_S = 0.1

SPEC = """agent_id: worker
exec: [cat]
mode: per_message
env: {AGENT_HEARTBEAT_INTERVAL: "0.1"}
restart: {base: 0.1, maximum: 0.2}
"""


@pytest.fixture
async def system(server_url):
    """alice may talk to worker and worker to alice."""
    pairs = [("alice", "worker"), ("worker", "alice")]
    async with live_system(server_url, agents=["alice", "worker"], allow=pairs) as opened:
        yield opened


class Supervised:
    """The agent `worker` in a process of its own, kept running by a supervisor."""

    def __init__(self, system, root):
        (root / "agents.d").mkdir()
        (root / "mas.yaml").write_text("name: test\n")
        (root / "agents.d" / "worker.yaml").write_text(SPEC)
        self.project, self.events = project_at(root), []
        self.write_token(system.tokens["worker"])
        facts = ConnectionFacts(
            url=system.system.target.url,
            namespace=system.store.namespace,
            partitions=system.store.partitions,
            tokens_dir=str(self.project.tokens_dir),
        )
        specs = load_config(self.project).specs()
        self.supervisor = Supervisor(self.project, specs, facts, self.events.append)

    def write_token(self, token):
        write_token(self.project.tokens_dir, "worker", token)

    def count(self, kind):
        return sum(event.kind == kind for event in self.events)

    @property
    def log(self):
        return (self.project.logs_dir / "worker-1.log").read_text()


@pytest.fixture
async def supervised(system, tmp_path):
    """A running instance of worker."""
    made = Supervised(system, tmp_path)
    await made.supervisor.start()
    try:
        assert await made.supervisor.wait_ready(60) == []
        yield made
    finally:
        await made.supervisor.stop()


async def replace_registration(system):
    await agents.deregister(system.system, "worker")
    return await system.register("worker")


async def test_an_agent_ends_with_the_overlap_of_its_token(system):
    """Who waits for it learns why, and so does who sends with it."""
    worker = await system.run("worker", heartbeat_interval=BEAT_S)
    await agents.rotate_token(system.system, "worker", overlap=0, show=True)

    with pytest.raises(TokenExpired, match="the token of worker has expired"):
        await asyncio.wait_for(worker.wait(), 10)

    with pytest.raises(TokenExpired):
        await worker.send("alice", "x", {})


async def test_an_agent_ends_when_its_token_is_revoked(system):
    """At the first message that is refused for it, long before the next heartbeat."""
    worker = await system.run("worker")
    await agents.revoke_token(system.system, "worker")

    with pytest.raises(TokenRevoked):
        await worker.send("alice", "x", {})

    with pytest.raises(TokenRevoked, match="was revoked"):
        await asyncio.wait_for(worker.wait(), 10)


async def test_an_agent_ends_when_its_registration_is_another(system, caplog):
    """Its token is to blame, not the gateway, which does not answer frames that it cannot open."""
    worker = await system.run("worker", heartbeat_interval=BEAT_S)
    await replace_registration(system)

    with pytest.raises((TokenInvalid, AgentNotFound)):
        await asyncio.wait_for(worker.wait(), 10)

    assert "token.refused" in caplog.text
    assert "heartbeat.unconfirmed" not in caplog.text


async def test_waiting_for_an_agent_ends_with_a_clean_stop(system):
    """Nothing is raised when its owner stopped it."""
    worker = await system.run("worker")
    waiting = asyncio.create_task(worker.wait())

    await worker.stop()

    await asyncio.wait_for(waiting, 10)


@pytest.mark.slow
async def test_a_supervised_agent_takes_the_new_token_when_the_old_one_ends(system, supervised):
    """The instance ends with an exit code and a line of its own, and its successor answers."""
    issued = await agents.rotate_token(system.system, "worker", overlap=0, show=True)
    supervised.write_token(issued.token)

    await until(lambda: supervised.count("ready") == 2, 60)

    ended = next(event for event in supervised.events if event.kind == "exited")
    assert ended.exit_code == 77
    # Said by the registration, or by the gateway of the heartbeat that was under way.
    assert re.fullmatch(r"Authentication failed: the token (of worker )?has expired", ended.message)
    assert "token.refused" in supervised.log
    assert '"code": "token_expired"' in supervised.log
    alice = await system.client("alice")
    assert (await alice.request("worker", "x", {"n": 1}, timeout=20)).data == {"output": '{"n":1}'}


@pytest.mark.slow
async def test_a_supervised_agent_waits_for_a_token_that_counts(system, supervised):
    """While the file has the refused one it is tried again and again, after a pause, and never given up."""
    token = await replace_registration(system)

    await until(lambda: supervised.count("restarting") >= 4, 60)
    assert supervised.count("gave_up") == 0
    assert all(0 < event.delay_s < 0.3 for event in supervised.events if event.kind == "restarting")
    assert {event.exit_code for event in supervised.events if event.kind == "exited"} == {77}
    supervised.write_token(token)

    await until(lambda: supervised.count("ready") == 2, 60)


@pytest.mark.slow
async def test_an_agent_whose_first_token_is_refused_is_given_up(system, tmp_path):
    """A wrong token at the first start is a mistake that somebody has to see."""
    made = Supervised(system, tmp_path)
    made.write_token(system.tokens["alice"])
    await made.supervisor.start()
    try:
        (left,) = await made.supervisor.wait_ready(60)
    finally:
        await made.supervisor.stop()

    assert left.state == "gave_up"
    assert made.count("restarting") == 0


@pytest.mark.timeout(30)
async def test_an_agent_can_be_stopped_while_it_ends_by_itself(system):
    """At whatever step of its end the stop comes, both come to an end."""
    for steps in range(40):
        alice = system.agent("alice")
        await alice.start()
        alice._lose_token(TokenExpired("the token has expired"))
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await alice.stop()
            await alice._stopped.wait()
