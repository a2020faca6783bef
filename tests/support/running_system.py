"""A running system for tests: a project with a server, a gateway and a few agents, in a process of its own.

`python running_system.py FOLDER` makes the project, runs it, writes `ready`, and ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mas_core import Agent, AgentMessage
from mas_core.audit.notary import Notary
from mas_core.errors import InvalidPayload
from mas_core.model.policy import RateLimit
from mas_core.ops import agents, project, rbac
from mas_core.ops.system import System
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.project import project_at
from mas_core.settings.running_context import RunningContext, claimed, write_running
from mas_core.settings.target import resolve_target
from mas_core.store.embedded_server import EmbeddedServer

HOSTILE = (
    "\x1b[31mred\x1b[0m\x07[bold]x[/bold][/oops][@click=app.quit]y[/]\x9b2J\x1b]52;c;eA==\x07"
    "\u202egnp\u2066b\u200b\n=1+1"
)
"""What a terminal, a markup reader, a table and a spreadsheet would each obey."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What must never be written, in no format."""


END = asyncio.Event()
"""Set when the system is to stop."""


class Calculator(Agent):
    capabilities = ("math",)

    @Agent.on("math.add")
    async def add(self, message: AgentMessage) -> dict[str, object]:
        return {"result": sum(message.data["numbers"])}

    @Agent.on("math.fail")
    async def fail(self, message: AgentMessage) -> None:
        raise ArithmeticError("no")

    @Agent.on("text.fail")
    async def refuse(self, message: AgentMessage) -> None:
        raise InvalidPayload(message.data["text"])

    async def on_message(self, message: AgentMessage) -> None:
        """Take everything else."""

    @Agent.on("math.strict")
    async def strict(self, message: AgentMessage) -> None:
        if "numbers" not in message.data:
            raise InvalidPayload("there are no numbers")

    @Agent.on("text.echo")
    async def echo(self, message: AgentMessage) -> dict[str, object]:
        return message.data


class Silent(Agent):
    """Takes requests and never answers."""

    @Agent.on("wait")
    async def wait(self, message: AgentMessage) -> None:
        await END.wait()


class Notebook(Agent):
    capabilities = ("notes", "math")

    @Agent.on("note.add")
    async def note(self, message: AgentMessage) -> None:
        await self.update_state({"notes": [*self.state.get("notes", []), message.data.get("text", "")]})


async def run(folder: Path) -> None:
    """Start the system of a new project in `folder`, and stop it when standard input ends."""
    from mas_core.gateway.service import Gateway
    from mas_core.store.store import Store

    project.init_project(folder)
    made = project_at(folder)
    # The agents of these tests run in this process; none of the project's own is expected to run.
    spec = folder / "agents.d" / "hello.yaml"
    spec.write_text(spec.read_text().replace("instances: 1", "instances: 0"))
    keys = GatewayKeys.load_or_create(made.keys_dir)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(claimed(made))
        server = await stack.enter_async_context(
            EmbeddedServer(made.server_dir, made.run_dir, made.keys_dir, profile="fast")
        )
        write_running(made, RunningContext(url=server.url, profile="fast", pid=os.getpid(), started=0))
        target = resolve_target(config=folder, environ={})
        system = await stack.enter_async_context(System(target))
        store = await stack.enter_async_context(Store(server.url))
        await stack.enter_async_context(Gateway(store, keys, payload_keys=made.keys_dir / "payloads"))
        often = AuditSettings(checkpoint_s=0.2)
        notary = Notary(store, made.data_dir / "audit", made.keys_dir, often)
        signing = asyncio.create_task(notary.run(END))
        await system.policy.change(
            lambda document: msgspec.structs.replace(document, default_limit=RateLimit(10**7, 10**7))
        )
        for name in ("operator", "calculator", "silent", "notebook", "outsider", "sleeper"):
            await agents.register(system, name)
        await rbac.add_rules(system, "allow", "operator", ["*", "vote:>"])
        await rbac.add_rules(system, "allow", "outsider", ["notebook"], message_type="note.*")
        for agent in (
            Calculator("calculator", redis_url=server.url, token=system.token_of("calculator")),
            Silent("silent", redis_url=server.url, token=system.token_of("silent")),
            Notebook(
                "notebook",
                redis_url=server.url,
                token=system.token_of("notebook"),
                metadata={"zone": "eu"},
            ),
        ):
            await stack.enter_async_context(agent)
        async with asyncio.timeout(10):
            # Until then it may still say that there is no policy.
            while not all(seen.partitions and not seen.alarms for seen in await system.gateways()):
                await asyncio.sleep(0.02)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        END.set()
        await signing


@contextlib.contextmanager
def running_system(folder: Path) -> Iterator[Path]:
    """The folder of a project whose system runs until the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAS_")}
    with subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "the system did not start"
            yield folder
            process.communicate("", timeout=30)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def running_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project whose system runs; tests share it, so each changes only what is its own."""
    with running_system(tmp_path_factory.mktemp("running") / "demo") as folder:
        yield folder


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
