"""The supervisor runs real agents against a real server: samples, crashes, reloads, drains."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from mas_core.agent.client import Client
from mas_core.errors import AgentFailed, InvalidPayload, RequestTimedOut, SpecInvalid
from mas_core.gateway.in_process import InProcessGateway
from mas_core.model.standing import Standing
from mas_core.runner.launch import ConnectionFacts
from mas_core.runner.supervisor import Supervisor
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.private_files import write_token
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config
from mas_core.store.embedded_server import EmbeddedServer
from mas_core.store.store import Store

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 60.0

COUNTER = """
import asyncio, os, sys
from mas_core.agent import Agent

class Counter(Agent):
    @Agent.on("pid")
    async def pid(self, message):
        return {"pid": os.getpid(), "version": 1}

    @Agent.on("slow")
    async def slow(self, message):
        await asyncio.sleep(1)
        return {"done": True}

    @Agent.on("fail")
    async def fail(self, message):
        raise ArithmeticError("secret words")

    @Agent.on("die")
    async def die(self, message):
        os._exit(3)
"""


async def until(condition, seconds=READY_SECONDS):
    """Wait for `condition`; fail when it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@dataclass
class System:
    """A project with a server and a gateway, and an operator in it."""

    project: object
    gateway: InProcessGateway
    server: EmbeddedServer
    operator: Client
    events: list = field(default_factory=list)
    supervisor: Supervisor | None = None

    async def prepare(self, specs):
        """Register the agents and put the rules of the files in force, as `mas up` does."""
        for spec in specs:
            write_token(self.project.tokens_dir, spec.agent_id, await self.gateway.admit(spec.agent_id))
        rules = load_config(self.project).policy(specs).rules
        await self.gateway.policy.change(lambda document: msgspec.structs.replace(document, rules=rules))

    async def up(self, drain_s=10.0):
        specs = load_config(self.project).specs()
        await self.prepare(specs)
        facts = ConnectionFacts(url=self.server.url, tokens_dir=str(self.project.tokens_dir))
        self.supervisor = Supervisor(self.project, specs, facts, self.events.append, drain_s=drain_s)
        await self.supervisor.start()
        return await self.supervisor.wait_ready(READY_SECONDS)

    async def ask(self, target, message_type, data=None, **options):
        return (await self.operator.request(target, message_type, data, timeout=20, **options)).data

    def kinds(self, agent_id):
        return [event.kind for event in self.events if event.agent_id == agent_id]


@pytest.fixture
async def system(tmp_path):
    """An empty project whose operator may talk to everybody."""
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "mas.yaml").write_text("name: test\n")
    (tmp_path / "policy.yaml").write_text("rules:\n  - allow: operator -> *\n")
    project = project_at(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        server = EmbeddedServer(project.server_dir, project.run_dir, project.keys_dir)
        await stack.enter_async_context(server)
        gateway = InProcessGateway(Store(server.url), GatewayKeys.generate())
        await stack.enter_async_context(gateway)
        store = await stack.enter_async_context(Store(server.url))
        operator = Client(store, "operator", await gateway.admit("operator"))
        await stack.enter_async_context(operator)
        system = System(project, gateway, server, operator)
        yield system
        if system.supervisor:
            await system.supervisor.stop()


def agent(system, name, text, module=""):
    (system.project.root / "agents.d" / f"{name}.yaml").write_text(f"agent_id: {name}\n{text}")
    if module:
        (system.project.root / "agents.d" / f"{name}.py").write_text(module)


async def test_the_samples_do_what_they_say(system):
    """Calculator, notebook, word counter, pipeline and the refused gossip, all as processes."""
    shutil.copytree(REPOSITORY / "agents.d", system.project.root / "agents.d", dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "policy.yaml", system.project.root / "policy.yaml")

    assert await system.up() == []

    assert await system.ask("calculator", "math.add", {"numbers": [1, 2, 3.5]}) == {"result": 6.5}
    assert await system.ask("calculator", "math.divide", {"numbers": [9, 3]}) == {"result": 3}
    with pytest.raises(InvalidPayload):
        await system.ask("calculator", "math.divide", {"numbers": [1, 0]})
    with pytest.raises(InvalidPayload):
        await system.ask("calculator", "math.add", {"numbers": ["x"]})
    assert await system.ask("notebook", "note.add", {"text": "buy milk"}) == {"number": 1}
    listed = await system.ask("notebook", "note.list", {"contains": "MILK"})
    assert listed["notes"] == [{"number": 1, "text": "buy milk", "author": "operator"}]
    assert await system.ask("word-counter", "text.count", {"text": "one two\nthree"}) == {"output": "3"}
    with pytest.raises(InvalidPayload):
        await system.ask("word-counter", "text.count", {"words": "none"})
    text = "# Title\n```\ncode\n```\n" + (REPOSITORY / "LICENSE").read_text()
    summary = await system.ask("cleaner", "text.clean", {"text": text, "sentences": 1})
    assert 0 < summary["words_after"] < summary["words_before"]
    assert "code" not in summary["summary"]
    assert (await system.ask("summarizer", "text.last"))["texts"] == 1
    told = await system.ask("gossip", "gossip.tell", {"text": "psst"})
    assert (told["passed_on"], told["code"]) == (False, "forbidden")
    assert (await system.ask("notebook", "note.list"))["count"] == 1


async def test_s42_secrets_are_in_no_argument_list_and_no_environment(system):
    """Tokens and the server's password reach an instance on its standard input only."""
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    await system.up()
    pid = (await system.ask("counter", "pid"))["pid"]

    shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()

    token = (system.project.tokens_dir / "counter.token").read_text().strip()
    password = (system.project.keys_dir / "server.password").read_text().strip()
    assert token.encode() not in shown
    assert password.encode() not in shown
    files = [path for path in system.project.data_dir.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_an_evicted_agent_ends_and_is_not_started_again(system):
    """Its process leaves by itself and the supervisor gives it up, with the reason."""
    agent(system, "counter", "class_path: counter:Counter\nrestart: {policy: always, base: 0.1}\n", COUNTER)
    await system.up()
    standing = Standing("evicted", "token leaked")
    await system.gateway.policy.change(
        lambda document: msgspec.structs.replace(document, standings={"counter": standing})
    )

    await until(lambda: "gave_up" in system.kinds("counter"))

    (info,) = system.supervisor.status()
    assert (info.state, info.pid) == ("gave_up", 0)
    assert info.message == "counter has stopped for good: token leaked"
    assert "restarting" not in system.kinds("counter")


async def test_a_crashed_instance_comes_back_and_is_told(system):
    """An exit and a signal both lead to a restart with a growing delay."""
    agent(
        system,
        "counter",
        "class_path: counter:Counter\ninstances: 2\nrestart: {policy: on-failure, base: 0.1}\n",
        COUNTER,
    )
    assert await system.up() == []
    first = system.supervisor.status()[0].pid

    os.kill(first, signal.SIGKILL)
    await until(lambda: system.kinds("counter").count("ready") == 3)

    exited = next(event for event in system.events if event.kind == "exited")
    assert (exited.exit_code, exited.message) == (-9, "ended by signal SIGKILL")
    assert [info.state for info in system.supervisor.status()] == ["ready", "ready"]
    assert system.supervisor.status()[0].restarts == 1
    assert (await system.ask("counter", "pid"))["pid"] != first


async def test_the_log_of_an_agent_says_where_a_handler_failed(system):
    """Kind of the exception and line of the module, never the text, which may hold data."""
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    assert await system.up() == []

    with pytest.raises(AgentFailed, match="ArithmeticError"):
        await system.ask("counter", "fail")

    log = system.project.logs_dir / "counter-1.log"
    await until(lambda: "handler.failed" in log.read_text(), 10)
    (line,) = [line for line in log.read_text().splitlines() if "handler.failed" in line]
    number = next(i for i, text in enumerate(COUNTER.splitlines(), 1) if "ArithmeticError" in text)
    assert f"ArithmeticError at {system.project.root}/agents.d/counter.py:{number} in fail" in line
    assert "secret words" not in log.read_text()


async def test_what_cannot_work_is_given_up_with_its_reason(system):
    """Neither a broken module nor a missing program is tried for ever."""
    agent(system, "broken", "class_path: broken:X\n", "import nothing_like_this\nclass X: pass\n")
    agent(system, "absent", "exec: [no-such-program-here]\n")

    left = await system.up()

    assert {info.agent_id: info.state for info in left} == {"broken": "gave_up", "absent": "gave_up"}
    messages = {info.agent_id: info.message for info in left}
    assert "No module named 'nothing_like_this'" in messages["broken"]
    assert "there is no program 'no-such-program-here'" in messages["absent"]


async def test_a_forbidden_class_stops_the_start_before_anything_runs(system):
    """The error names the file and the line; no process was started."""
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    agent(system, "evil", "class_path: subprocess:Popen\n")

    with pytest.raises(SpecInvalid, match=r"evil\.yaml:2: class_path 'subprocess:Popen'"):
        await system.up()

    assert system.events == []


async def test_stopping_lets_handlers_finish(system):
    """A request in hand is answered before the process ends."""
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    await system.up()

    asking = asyncio.create_task(system.ask("counter", "slow"))
    await asyncio.sleep(0.4)
    drained = await system.supervisor.stop()

    assert drained
    assert await asking == {"done": True}
    assert system.kinds("counter") == ["started", "ready", "stopped"]


STREAM = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if not message["expects_reply"]:
        continue
    kind, data = message["type"], message["data"]
    if kind == "by.id":
        print(json.dumps({"id": message["id"], "data": {"got": data["n"]}}), flush=True)
    elif kind == "in.order":
        print(json.dumps({"got": data["n"], "from": message["sender"]}), flush=True)
    elif kind == "number":
        print(7, flush=True)
    elif kind == "bad":
        print("not json", flush=True)
    elif kind == "error":
        print(json.dumps({"error": "no luck"}), flush=True)
    elif kind == "die":
        print("last words", file=sys.stderr)
        sys.exit(4)
"""


async def test_a_program_answers_lines_of_json(system):
    """By id or in order; a bad line, an error, silence and a death are error replies."""
    (system.project.root / "agents.d" / "stream.py").write_text(STREAM)
    agent(
        system,
        "stream",
        "exec: [python3, agents.d/stream.py]\ntimeout: 1\nrestart: {policy: always, base: 0.1}\n",
    )
    assert await system.up() == []

    answers = await asyncio.gather(*(system.ask("stream", "by.id", {"n": n}) for n in range(20)))
    assert answers == [{"got": n} for n in range(20)]
    await system.operator.send("stream", "in.order", {"n": 0})
    assert await system.ask("stream", "in.order", {"n": 1}) == {"got": 1, "from": "operator"}
    assert await system.ask("stream", "number") == {"output": 7}
    with pytest.raises(AgentFailed, match="no JSON"):
        await system.ask("stream", "bad")
    with pytest.raises(AgentFailed, match="no luck"):
        await system.ask("stream", "error")
    with pytest.raises((AgentFailed, RequestTimedOut), match="did not answer within 1 s"):
        await system.ask("stream", "silence")
    with pytest.raises(AgentFailed, match="ended before it answered"):
        await system.ask("stream", "die")
    await until(lambda: system.kinds("stream").count("ready") == 2)
    assert await system.ask("stream", "in.order", {"n": 2}) == {"got": 2, "from": "operator"}
    log = (system.project.logs_dir / "stream-1.log").read_text()
    assert "last words" in log


async def test_a_program_for_each_message_reports_its_failures(system):
    """A non-zero end, a time-out and an unknown type are error replies; children do not stay behind."""
    agent(system, "fails", "exec: [sh, -c, 'exit 3']\nmode: per_message\n")
    agent(system, "hangs", "exec: [sleep, '30']\nmode: per_message\ntimeout: 0.5\n")
    agent(system, "echo", "exec: [cat]\nmode: per_message\ntypes: [echo.this]\n")
    assert await system.up() == []

    with pytest.raises(AgentFailed, match="exit code 3"):
        await system.ask("fails", "any")
    with pytest.raises(AgentFailed, match=r"did not end within 0\.5 s"):
        await system.ask("hangs", "any")
    with pytest.raises(AgentFailed, match="does not take messages of type other"):
        await system.ask("echo", "other")
    big = "x" * 300_000
    assert await system.ask("echo", "echo.this", {"text": big}) == {"output": f'{{"text":"{big}"}}'}


async def test_a_change_restarts_only_the_agents_that_it_concerns(system):
    """A changed module, a new spec and a removed one are applied; a mistake changes nothing."""
    agents = system.project.root / "agents.d"
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    agent(system, "other", "exec: [cat]\nmode: per_message\n")
    await system.up()
    pids = {info.agent_id: info.pid for info in system.supervisor.status()}
    watching = asyncio.create_task(system.supervisor.reload_on_change(before=system.prepare))
    await asyncio.sleep(0.5)

    (agents / "counter.py").write_text(COUNTER.replace('"version": 1', '"version": 2'))
    await until(lambda: system.kinds("counter").count("ready") == 2)
    assert (await system.ask("counter", "pid"))["version"] == 2
    agent(system, "third", "exec: [cat]\nmode: per_message\n")
    await until(lambda: "ready" in system.kinds("third"))
    (agents / "third.yaml").write_text("agent_id: third\nexce: [cat]\n")
    await until(lambda: system.events[-1].kind == "problem")
    assert "third.yaml:2: unknown field 'exce'" in system.events[-1].message
    (agents / "third.yaml").unlink()
    await until(lambda: "stopped" in system.kinds("third"))
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching

    now = {info.agent_id: info.pid for info in system.supervisor.status()}
    assert set(now) == {"counter", "other"}
    assert now["other"] == pids["other"]
    assert now["counter"] != pids["counter"]


async def test_instances_end_when_their_supervisor_is_gone(system):
    """The end of standard input is the sign: no agent is left behind by a killed `mas up`."""
    agent(system, "counter", "class_path: counter:Counter\n", COUNTER)
    await system.up()

    system.supervisor._instances["counter"][0]._process.stdin.close()

    await until(lambda: "exited" in system.kinds("counter"))
    exited = next(event for event in system.events if event.kind == "exited")
    assert exited.exit_code == 0
