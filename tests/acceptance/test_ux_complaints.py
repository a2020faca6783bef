"""What people complain about in tools like this one, each as a test in a real shell, in tmux, with a real server.

Number 7 is the dashboard's and is in tests/tui; what holds for each single command is in tests/law.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.running_system import running_system
from support.tmux import shell_in

pytestmark = pytest.mark.slow

COMPLETIONS = Path(__file__).parents[2] / "completions"
SLOW_SPEC = "agent_id: slow\nclass_path: slow:Slow\n"
SLOW = """
import asyncio
from pathlib import Path

from mas_core import Agent, AgentMessage


class Slow(Agent):
    @Agent.on("slow.work")
    async def work(self, message: AgentMessage) -> None:
        while not Path("{go}").exists():
            await asyncio.sleep(0.05)
        await self.update_state({"done": [*self.state.get("done", []), message.data["n"]]})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of one running system that all of them share."""
    with running_system(tmp_path_factory.mktemp("complaints") / "demo") as made:
        yield made


@pytest.fixture(scope="module")
def shell(folder, tmp_path_factory):
    """A shell in that folder."""
    home = tmp_path_factory.mktemp("home")
    with shell_in(folder, home / "bin", {"HOME": str(home), "TERM": "screen"}) as opened:
        yield opened


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("mas request nobody x", 6, "not found: Agent not found: nobody"),
        ("mas request silent wait --timeout 1s", 4, "timed out"),
        ("mas request calculator math.add --as outsider", 5, "refused: outsider may not"),
        ("mas request calculator math.fail", 1, "failed with ArithmeticError"),
    ],
    ids=["nobody", "silent", "refused", "failing"],
)
def test_1_how_a_request_failed_is_in_its_exit_code(shell, line, code, said):
    """Nobody there is known at once and needs no time-out."""
    ran = shell.run(line)

    assert ran.code == code
    assert said in ran.text
    assert "[" in ran.text.splitlines()[0], "the error code stands on the first line"


def test_2_json_is_json(shell, folder):
    """In a pipe with colour forced, where there is nothing, and on an error, when standard output stays empty."""
    python = "python3 -c 'import json, sys; json.load(sys.stdin)'"
    lists = [
        f"mas {words} -o json --color=always | {python}" for words in ("agent list", "audit list", "status")
    ]
    assert shell.run(f"set -o pipefail; {' && '.join(lists)}").code == 0
    for words in ("dlq list", "discover no-such"):
        assert shell.run(f"mas {words} -o json 2>/dev/null | cat").text == "[]"
    failed = shell.run("mas request nobody x -o json --color=always 2>error.json >out.json")
    assert failed.code == 6
    assert (folder / "out.json").read_text() == ""
    assert json.loads((folder / "error.json").read_text())["error"]["exit"] == 6


@pytest.mark.parametrize(
    ("words", "there", "code"),
    [
        ("state reset notebook", "mas state get notebook notes", 6),
        ("bus trim sleeper --keep 0", "mas bus inspect sleeper -o name | grep .", 1),
        ("agent deregister sleeper", "mas agent describe sleeper", 6),
    ],
    ids=["state", "queue", "agent"],
)
def test_3_nothing_is_destroyed_unasked(shell, words, there, code):
    """Without a terminal and a flag 2, and all is as it was; with --yes no question."""
    assert shell.run("mas state set notebook notes 1; mas send sleeper kept.one").code == 0
    assert shell.run(there).code == 0

    unasked = shell.run(f"mas {words} </dev/null 2>&1 | cat; exit_code=${{PIPESTATUS[0]}}; (exit $exit_code)")

    assert unasked.code == 2
    assert "--yes" in unasked.text
    assert shell.run(there).code == 0
    asked = shell.run(f"mas {words} --yes </dev/null")
    assert asked.code == 0
    assert "[y/N]" not in asked.text
    assert shell.run(there).code == code


def test_4_a_closed_pipe_is_quiet_and_a_file_holds_everything(shell, folder):
    """`watch | head` ends with its reader; what goes to a file is neither cut nor left out."""
    ended = shell.run(
        "mas watch -v -o jsonl --type 'piped.*' 2>said.txt | head -1 & "
        "until grep -q watching said.txt; do sleep 0.1; done; "
        "mas send calculator piped.one --count 120 >/dev/null 2>&1; wait"
    )
    assert ended.text.count('"type":"piped.one"') == 1
    assert "Traceback" not in ended.text
    assert "rror" not in (folder / "said.txt").read_text()

    long = "piped." + "very-long-" * 8 + "name"
    assert shell.run(f"mas send calculator {long}").code == 0
    assert shell.run("mas audit list --type 'piped.*' > f").code == 0
    lines = (folder / "f").read_text().splitlines()
    assert len(lines) == 1 + 121
    assert long in lines[1]
    assert "…" not in "".join(lines)


def test_5_tab_without_a_server_shows_nothing(shell):
    """Neither where nothing listens nor where nobody answers; what is typed next is all that stands there."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        for port in (1, silent.getsockname()[1]):
            shell.run(f"source {COMPLETIONS / 'mas.bash'}; export MAS_URL=redis://127.0.0.1:{port}")
            shell.tmux("send-keys", "-l", "mas request ")
            shell.keys("Tab", "Tab")
            shell.type("x 2>&1 | cat >/dev/null; echo 'all ''done'")
            shown = shell.until("all done")
            typed = [line for line in shown.splitlines() if line.startswith("$ mas request")]
            assert typed == ["$ mas request x 2>&1 | cat >/dev/null; echo 'all ''done'"]
            assert shown.rstrip().endswith("all done\n$")
    shell.run("unset MAS_URL")


def test_6_an_unknown_agent_is_no_no(shell):
    """6 where nobody of this name is known, 1 where the answer is no, 0 where it is yes."""
    assert shell.run("mas rbac check operator nobody").code == 6
    assert shell.run("mas rbac check nobody calculator").code == 6
    assert shell.run("mas rbac check outsider calculator").code == 1
    assert shell.run("mas rbac check operator calculator").code == 0


def test_8_ctrl_c_finishes_what_is_in_hand(shell, folder):
    """It says at once for how many messages it waits; all three are handled, and the exit code is 0."""
    (folder / "agents.d" / "slow.py").write_text(SLOW.replace("{go}", str(folder / "go")))
    (folder / "agents.d" / "slow.yaml").write_text(SLOW_SPEC)
    shell.type('clear; mas agent run slow; echo "[ended:$?]"')
    shell.until(r"slow +ready")
    beside = {"cwd": folder, "text": True, "check": True, "timeout": 60}
    mas = [sys.executable, "-m", "mas_cli"]
    lines = "".join(f'{{"n": {number}}}\n' for number in (1, 2, 3))
    subprocess.run([*mas, "send", "slow", "slow.work", "-", "--lines", "-q"], input=lines, **beside)
    waits = ["--watch=100ms", "--until", "in_hand == `3`", "--timeout", "20s"]
    subprocess.run([*mas, "bus", "status", "--agent", "slow", *waits], **beside)

    shell.keys("C-c")

    at_once = shell.until("waiting for 3 messages")
    (folder / "go").touch()
    assert "stopping, what is in hand gets finished (Ctrl-C again to force)" in at_once
    assert "[ended:0]" in shell.until(r"\[ended:\d+\]\n")
    assert sorted(json.loads(shell.run("mas state get slow done -q -o json").text)) == [1, 2, 3]
