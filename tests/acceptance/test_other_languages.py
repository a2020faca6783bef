"""The examples in other languages talk to a server of agents with what the published protocol says, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.plain_agents import keep_tokens
from support.server_process import server_process
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import AgentFailed, InvalidPayload

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PROTO = REPOSITORY / "mas_core" / "protocol" / "agents.proto"
SHELL = REPOSITORY / "examples" / "shell" / "agent.sh"
NO_NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|EIDLETIMEOUT|E403|E50[234]"
)
IS_CI = bool(os.environ.get("MAS_REQUIRE_OTHER_LANGUAGES"))


class Echo(Recorder):
    """Gives back what it gets."""

    async def on_message(self, message):
        """Keep it, and answer with it."""
        await super().on_message(message)
        if message.data.get("fail"):
            raise InvalidPayload("it is to fail")
        return dict(message.data)


def need(*programs: str) -> None:
    """Skip where one of these programs is missing; continuous integration has them all."""
    missing = [program for program in programs if shutil.which(program) is None]
    assert not (missing and IS_CI), missing
    if missing:
        pytest.skip(f"this needs {' and '.join(missing)}")


@pytest.fixture(scope="module")
def node_example(tmp_path_factory):
    """The example in Node with the packages of its lock file."""
    need("node", "npm")
    folder = tmp_path_factory.mktemp("node") / "node"
    shutil.copytree(REPOSITORY / "examples" / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if installed.returncode and NO_NETWORK.search(installed.stderr):
        pytest.skip("npm reaches no registry")
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
async def served(server_url):
    """A system with an echo, behind a server in a process of its own."""
    pairs = [("stranger", "echo"), ("echo", "stranger"), ("stranger", "stranger")]
    async with live_system(server_url, agents=["stranger", "echo", "other"], allow=pairs) as system:
        keep_tokens(system)
        async with server_process(system) as server:
            yield server


def environment(server, agent_id: str = "stranger") -> Mapping[str, str]:
    """What the examples read: where the server is, and who they are."""
    files = server.certificates.agent(agent_id)
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "MAS_SERVER": f"localhost:{server.port}",
        "MAS_TLS_CERT_PATH": str(files.cert_path),
        "MAS_TLS_KEY_PATH": str(files.key_path),
        "MAS_TLS_CA_PATH": str(files.ca_path),
        "MAS_PROTO": str(PROTO),
    }


async def said_by(server, *words: str | Path, agent_id: str = "stranger") -> tuple[int, str, str]:
    """Run a program as an agent: its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        env=environment(server, agent_id),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_shell_sends_asks_and_discovers(served):
    """With curl and protoc alone; texts come through whole, and a refusal tells its stable code."""
    need("bash", "curl", "protoc")
    echo = await served.system.run("echo", Echo, capabilities=["echo"])
    odd = {"text": 'ä "quoted" \\ back\nslash €', "n": [1, 2.5, None]}
    code, out, err = await said_by(served, SHELL, "request", "echo", "text.echo", json.dumps(odd, indent=1))
    assert (code, err) == (0, "")
    assert json.loads(out) == odd
    code, out, err = await said_by(served, SHELL, "send", "echo", "text.note")
    assert code == 0, err
    assert 'decision: "allowed"' in out
    await until(lambda: [message.message_type for message in echo.messages] == ["text.echo", "text.note"])
    assert echo.messages[1].sender_id == "stranger"
    assert await said_by(served, SHELL, "discover", "echo") == (0, "echo\n", "")
    code, out, err = await said_by(served, SHELL, "send", "other", "text.note", "{}")
    assert (code, out) == (1, "")
    assert err.startswith("forbidden: stranger may not send text.note to other")


@pytest.mark.parametrize("words", [(), ("send",), ("request", "echo"), ("send", "echo", "text.note")])
def test_the_shell_example_says_how_it_is_called(words):
    """Whoever leaves out words or settings gets the usage and not a complaint of the shell."""
    need("bash")
    said = subprocess.run(
        [SHELL, *words], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert "agent.sh send TARGET TYPE [JSON]" in said.stderr
    assert "unbound" not in said.stderr
    assert ("MAS_SERVER is not set" in said.stderr) == (len(words) == 3)


@pytest.mark.parametrize("script", ["ask.js", "shouter.js"])
def test_the_node_example_names_the_setting_that_is_missing(node_example, script):
    """In one line, without a trace."""
    said = subprocess.run(
        ["node", node_example / script, "send", "echo", "text.note"],
        env={"PATH": os.environ["PATH"], "MAS_PROTO": str(PROTO)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 1
    assert said.stderr == "set MAS_SERVER to the server's host:port, such as localhost:7443\n"


async def test_node_sends_asks_receives_and_answers(served, node_example):
    """The agent in Node is one like any other: it is found, answers, sends, refuses, comes back."""
    echo = await served.system.run("echo", Echo)
    ask = node_example / "ask.js"
    assert await said_by(served, "node", ask, "request", "echo", "text.echo", '{"n": 1}') == (
        0, '{"n":1}\n', "",
    )  # fmt: skip
    code, out, err = await said_by(served, "node", ask, "send", "other", "text.note")
    assert (code, out) == (1, "")
    assert err.startswith("forbidden: ")
    code, _, err = await said_by(served, "node", ask, "request", "echo", "text.echo", '{"fail": true}')
    assert (code, err) == (1, "invalid_payload: it is to fail\n")

    # Who is not let in is told why, without a trace.
    code, out, err = await said_by(served, "node", node_example / "shouter.js", agent_id="nobody")
    assert (code, out) == (1, "")
    assert err.startswith("agent_not_found: ")
    assert err.count("\n") == 1

    shouter = await asyncio.create_subprocess_exec(
        "node", str(node_example / "shouter.js"),
        env=environment(served), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            assert await shouter.stdout.readline() == b"ready\n"
        (found,) = await echo.discover(["text"])
        assert found["id"] == "stranger"
        reply = await echo.request("stranger", "text.shout", {"text": "hällo"})
        assert reply.data == {"text": "HÄLLO"}
        await echo.send("stranger", "text.note", {"text": "milk", "notebook": "echo"})
        await until(lambda: echo.messages[-1].message_type == "note.add")
        with pytest.raises(InvalidPayload, match=r"no handler for text\.none"):
            await echo.request("stranger", "text.none")
        with pytest.raises(AgentFailed, match="toUpperCase"):
            await echo.request("stranger", "text.shout", {})

        # A server that crashes and comes back finds the agent again.
        await served.kill()
        await served.start()
        async with asyncio.timeout(30):
            assert await shouter.stdout.readline() == b"ready\n"
        assert (await echo.request("stranger", "text.shout", {"text": "again"})).data == {"text": "AGAIN"}

        shouter.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, err = await shouter.communicate()
        assert (shouter.returncode, err) == (0, b"")
    finally:
        if shouter.returncode is None:
            shouter.kill()
            await shouter.wait()
