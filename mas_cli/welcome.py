"""What `mas up` shows: what runs, and what to type next."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mas_cli.invocation import Invocation
from mas_cli.output.run_reports import RunReport
from mas_cli.output.safe_text import safe_text
from mas_core.errors import MasError
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.project import find_project
from mas_core.settings.project_config import LoadedConfig

if TYPE_CHECKING:
    from mas_core.ops.run_events import RunEvent


class Welcome(RunReport):
    """Tells what happens, and with the readiness what to do now.

    Raises:
        SpecInvalid: A spec cannot be used.
    """

    def __init__(self, call: Invocation, loaded: LoadedConfig, *, is_detached: bool) -> None:
        self._specs = loaded.specs()
        notes = {spec.agent_id: note(spec) for spec in self._specs}
        super().__init__(call, notes)
        self._loaded = loaded
        self._is_detached = is_detached
        self._began = time.monotonic()
        self._has_begun = False

    def __call__(self, event: RunEvent) -> None:
        """Tell about one event; never raises."""
        if not self._has_begun:
            config = self._loaded.config
            place = safe_text(self._loaded.project.root)
            self.text(f"{safe_text(config.name)}, profile {config.profile}, in {place}\n")
            self._has_begun = True
        if event.kind == "ready" and event.hint and self._is_detached and self.is_for_people:
            # the error says it
            return
        super().__call__(event)
        if event.kind == "ready":
            self._summary(event)

    def _summary(self, event: RunEvent) -> None:
        outcome = event.message[:1].upper() + event.message[1:]
        where = "Now type" if self._is_detached else "In another terminal, type"
        self.text(f"\n{outcome}, after {time.monotonic() - self._began:.1f} s. {where}:\n")
        for line in next_steps(self._loaded, self._specs):
            self.text(f"  {line}")
        self.text(
            f"\nIt runs in the background. Stop it with: {program()} down"
            if self._is_detached
            else "\nCtrl-C stops everything. What agents print is in .mas/logs/.\n"
        )


def note(spec: AgentSpec) -> str:
    """What an agent is for, in a few words."""
    described = spec.metadata.get("description")
    return str(described) if described else ", ".join(spec.capabilities)


def next_steps(loaded: LoadedConfig, specs: list[AgentSpec]) -> list[str]:
    """Commands to try with this project, as they can be typed from here."""
    mas, project = program(), loaded.project
    steps = [] if find_project() == project else [f"cd {shlex.quote(str(project.root))}"]
    return [
        *steps,
        f"{mas} discover",
        *talking_steps(loaded, specs),
        f"{mas} watch",
        f"{mas} tui",
        f"{mas} status",
    ]


def talking_steps(loaded: LoadedConfig, specs: list[AgentSpec]) -> list[str]:
    """A request that is answered, and a message that is refused, where the files say enough to know."""
    mas = program()
    found = [(spec, example) for spec in specs if spec.instances.max and (example := _example(spec))]
    steps = [f"{mas} request {example}" for _, example in found[:1]]
    with contextlib.suppress(MasError):
        rules = loaded.policy(specs).rules
        senders = {rule.sender for rule in rules}
        if not any(sender == "*" or sender.startswith("role:") for sender in senders):
            refused = [
                f"{mas} send {example} --as {shlex.quote(spec.agent_id)}    # refused until a rule lets it"
                for spec, example in found
                if spec.agent_id not in senders
            ]
            steps += refused[:1]
    return steps


def program() -> str:
    """How this program is called from a shell in this folder."""
    called = Path(sys.argv[0])
    if shutil.which("mas") or called.name != "mas":
        return "mas"
    return shlex.quote(min(str(called.absolute()), os.path.relpath(called), key=len))


def _example(spec: AgentSpec) -> str:
    """The example in the metadata of a spec, `TYPE PAYLOAD`, as arguments of a command."""
    message_type, _, payload = str(spec.metadata.get("example", "")).strip().partition(" ")
    words = [word for word in (message_type, payload.strip()) if word]
    return " ".join(map(shlex.quote, [spec.agent_id, *words])) if words and "\n" not in payload else ""
