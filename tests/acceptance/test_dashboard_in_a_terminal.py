"""The dashboard in a real terminal, as complaints about other tools say that it has to be (7 of the list)."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import time

import pytest
from support.running_system import HOSTILE, running_project  # noqa: F401 - a fixture

from mas_core.ops import messages, rbac, state
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
]


class Terminal:
    """A terminal that tmux draws: keys go in, and what stands on it comes out."""

    def __init__(self, folder):
        self.folder = folder
        # A socket that was used before may still be of a server that ends.
        self._tmux = ["tmux", "-L", f"mas-{secrets.token_hex(8)}", "-f", os.devnull]

    def _run(self, *words):
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    def open(self, *words):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAS_", "TMUX", "TEXTUAL")) and name not in ("COLUMNS", "LINES")
        }
        subprocess.run(
            [
                *(*self._tmux, "new-session", "-d", "-s", "mas", "-x", "120", "-y", "30"),
                *(sys.executable, "-m", "mas_cli", "tui", *words),
            ],
            cwd=self.folder,
            env={**environment, "LC_ALL": "C.UTF-8"},
            check=True,
            timeout=30,
        )

    def close(self):
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False, timeout=30)

    def press(self, *keys):
        for key in keys:
            self._run("send-keys", "-t", "mas", key)

    def text(self):
        return self._run("capture-pane", "-p", "-t", "mas")

    def until(self, *texts, without=(), seconds=30):
        latest = time.monotonic() + seconds
        while True:
            shown = self.text()
            if all(text in shown for text in texts) and not any(text in shown for text in without):
                return shown
            assert time.monotonic() < latest, f"not seen: {texts}, without {without}\n{shown}"
            time.sleep(0.1)

    def chosen(self, text, seconds=30):
        """The line of the chosen row, once it holds a text."""
        latest = time.monotonic() + seconds
        while True:
            shown = self.text()
            for line in shown.splitlines():
                if "▸ " in line and text in line and "mas ▸" not in line:
                    return line
            assert time.monotonic() < latest, f"{text} is not chosen\n{shown}"
            time.sleep(0.1)


@pytest.fixture
def terminals(running_project):  # noqa: F811 - the fixture
    opened = []

    def open_terminal(*words):
        opened.append(Terminal(running_project))
        opened[-1].open(*words)
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()


def acting(folder, act):
    async def run():
        async with System(resolve_target(config=folder, environ={})) as system:
            return await act(system)

    return asyncio.run(run())


def send(folder, *types):
    async def act(system):
        for message_type in types:
            await messages.send(system, "calculator", message_type, {})

    acting(folder, act)


@pytest.mark.timeout(200)
def test_row_7_complaints_about_other_dashboards_do_not_hold_here(terminals, running_project):  # noqa: F811
    """Filter while paused, filter recall, kept scroll, a hidden row, history after a restart, hostile text."""
    send(running_project, "first.one", "first.two")
    first = terminals("--screen", "live")
    first.until("first.two")

    # k9s#517: a filter works on what is held, and on what comes while it is held.
    first.press("p")
    first.until("held")
    send(running_project, "late.one", "first.three")
    first.until("+2 new", without=["late.one"])
    first.press("/", *"type:first.two", "Enter")
    first.until("first.two", "1 of", without=["first.one"])

    # k9s#3106: the last filter is there again.
    first.press("Escape")
    first.until("first.one", without=["filter:"])
    first.press("/")
    first.until("filter", "type:first.two")
    first.press("Escape", "Escape", "End")
    first.until("late.one", "first.three", "live")

    # k9s#3668: what was scrolled to stays, sideways too.
    first.press("w", "Up", "Up", *["Right"] * 4)
    chosen = first.chosen("first.two")
    send(running_project, "late.two")
    after = first.until("+1 new")
    assert chosen in after.splitlines()

    # dolphie#86: what a filter hides can be acted on.
    first.press("3")
    first.until("sleeper")
    first.press("/", *"calculator", "Enter")
    first.until("1 of 6", without=["sleeper"])
    first.press(":")
    first.until("go to")
    first.press(*"agent", "Space", *"sleeper", "Enter")
    first.until("Agents ▸ sleeper")
    first.press("a")
    first.until("ask it something")
    first.press("Escape")

    # flower#415: a new dashboard knows what was before it.
    first.press("q")
    second = terminals("--screen", "live")
    second.until("first.one", "late.two")

    # Hostile text is shown, not obeyed.
    async def spoil(system):
        await rbac.add_rules(system, "allow", "sleeper", ["notebook"], reason=HOSTILE)
        await state.set_part(system, "sleeper", "mood", HOSTILE)

    acting(running_project, spoil)
    second.press("6", "/", *"from:sleeper", "Enter")
    second.until("␛[31mred", "rules")
    second.press("2", "End")
    second.until("late.two")
    second.press("q")
