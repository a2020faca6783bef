"""Somebody who types only what the step before suggests gets from an empty folder to verified evidence."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support.terminal import ANSI, Terminal

pytestmark = pytest.mark.slow


class Newcomer:
    """Types commands into terminals, and finds the next one in what they show."""

    def __init__(self):
        self.shown = ""
        self.code = 0

    def type(self, command, code=0):
        """Run a command that was suggested, to its end."""
        terminal = Terminal("bash", "--norc", "-c", command)
        try:
            self.shown = ANSI.sub("", terminal.rest()).replace("\r", "")
            assert terminal.process.wait(30) == code, self.shown
        finally:
            terminal.close()

    def suggested(self, pattern):
        """The one command like this that is shown, as it can be typed."""
        found = {match[0].strip() for match in re.finditer(rf"(?m)\b{pattern}", self.shown)}
        assert len(found) == 1, f"{pattern} is not suggested once by:\n{self.shown}"
        return found.pop()


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """In an empty folder, without any settings."""
    for name in [name for name in os.environ if name.startswith(("MAS_", "REDIS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "xterm-256color")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return Newcomer()


@pytest.mark.timeout(240)
def test_each_step_suggests_the_next_from_an_empty_folder_to_verified_evidence(newcomer, monkeypatch):
    """Answered, refused, permitted, delivered, traced, exported, verified."""
    newcomer.type("mas")
    newcomer.type(newcomer.suggested(r"mas init DIR").replace("DIR", "demo"))
    folder = newcomer.suggested(r"cd \S+$").removeprefix("cd ")
    monkeypatch.chdir(folder)
    system = Terminal("bash", "--norc", "-c", newcomer.suggested(r"mas up$"))
    try:
        newcomer.shown = ANSI.sub("", system.until("Ctrl-C stops everything", 60)).replace("\r", "")
        request = newcomer.suggested(r"mas request .*$")
        refused = newcomer.suggested(r"mas send .*$")

        newcomer.type(request)
        assert '"greeting"' in newcomer.shown
        assert newcomer.suggested(r"mas trace \w+")

        newcomer.type(refused, code=5)
        assert "no rule allows it" in newcomer.shown
        newcomer.type(newcomer.suggested(r"mas rbac explain .*$"), code=1)
        newcomer.type(newcomer.suggested(r"mas rbac allow .*$"))

        newcomer.type(refused)
        newcomer.type(newcomer.suggested(r"mas trace \w+"))
        assert "delivered" in newcomer.shown
        records, export = (
            newcomer.suggested(r"mas audit get \w+"),
            newcomer.suggested(r"mas audit export .*$"),
        )
        newcomer.type(records)
        assert "hello.greet" in newcomer.shown
        newcomer.type(export)
        newcomer.type(newcomer.suggested(r"mas audit verify .*$"))
        assert re.search(r"files\s+yes", newcomer.shown)
    finally:
        os.killpg(system.process.pid, signal.SIGINT)
        system.process.wait(60)
        system.close()
