"""State of agents: look at it, change it, reset it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mas_core.errors import InvalidPayload, KeyNotFound, StateChanged
from mas_core.model.json_text import parse_json
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.user_folder import user_folder

Json = object

LOOK_S = 5.0
"""How long is waited for running instances to look at a new state; they do every other second."""

WHOLE = "."
"""The path of a whole state."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """The state of an agent at one revision."""

    agent_id: str
    revision: int
    value: dict[str, Json]


async def get(system: System, agent_id: str) -> AgentState:
    """The state of an agent; empty at revision 0 when it has none.

    Raises:
        AgentNotFound: It is not registered.
    """
    await require_agents(system, agent_id)
    revision, text = await system.store.agent(agent_id).get_state()
    value: Json = parse_json(text) if text else {}
    return AgentState(agent_id, revision, value if isinstance(value, dict) else {})


def part(state: AgentState, path: str) -> Json:
    """The part of a state at a dotted path such as `notes.0.text`; `.` is all of it.

    Raises:
        KeyNotFound: There is nothing.
    """
    value: Json = state.value
    if path == WHOLE:
        return value
    for name in path.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise KeyNotFound(
                f"the state of {state.agent_id} has nothing at {path}", hint=f"mas state get {state.agent_id}"
            )
    return value


async def set_part(
    system: System, agent_id: str, path: str, value: Json, *, if_revision: int | None = None
) -> AgentState:
    """Set the part of a state at a dotted path; objects on the way are made. `.` replaces all of it.

    Args:
        system: The system.
        agent_id: Whose state.
        path: Such as `settings.limit`.
        value: Any JSON value.
        if_revision: Only if the state still has this revision; otherwise only if nobody changes it meanwhile.

    Raises:
        AgentNotFound: The agent is not registered.
        StateChanged: The revision is another.
        InvalidPayload: The path leads nowhere, or the whole state would not be an object.
    """
    state = await get(system, agent_id)
    if path == WHOLE:
        if not isinstance(value, dict):
            raise InvalidPayload("a whole state has to be a JSON object")
        return await _replace(system, state, value, if_revision)
    place: Json = state.value
    *parents, last = path.split(".")
    for name in parents:
        if isinstance(place, dict):
            place = place.setdefault(name, {})
        else:
            place = place[_index(place, name, path)] if isinstance(place, list) else None
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list):
        place[_index(place, last, path)] = value
    else:
        raise InvalidPayload(f"{path} leads through something that is neither an object nor a list")
    return await _replace(system, state, state.value, if_revision)


async def refusals(system: System, agent_id: str, revision: int, *, wait_s: float = LOOK_S) -> list[str]:
    """Why running instances refuse a state that was set; empty when none does, or none says so in time.

    Args:
        system: The system.
        agent_id: Whose state.
        revision: What `set_part` gave.
        wait_s: Seconds to wait for the instances that check states.
    """
    ends = time.monotonic() + wait_s
    while True:
        entry = await system.registry.get(agent_id)
        now = await system.store.connection.time_ms()
        checking = [item for item in entry.running(now) if item.state_model]
        looked = [item for item in checking if item.state_looked >= revision]
        if len(looked) == len(checking) or time.monotonic() > ends:
            return sorted({item.state_problem for item in looked if item.state_problem})
        await asyncio.sleep(0.1)


def backup(system: System, state: AgentState) -> Path:
    """Keep a state as a private JSON file, in the project or else in the user's folder.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    project = system.target.project
    folder = private_dir((project.data_dir if project else private_dir(user_folder())) / "backups")
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = folder / f"{state.agent_id}-r{state.revision}-{moment}.json"
    return write_private(path, msgspec.json.format(msgspec.json.encode(state.value)) + b"\n")


async def reset(system: System, before: AgentState) -> AgentState:
    """Empty a state that `get` gave, so that the agent starts from its defaults.

    A running instance learns of it with its next change or `refresh_state()`.

    Raises:
        StateChanged: It is no longer what it was.
    """
    return await _replace(system, before, {}, before.revision)


def _index(place: list[Json], name: str, path: str) -> int:
    if name.isdecimal() and int(name) < len(place):
        return int(name)
    raise InvalidPayload(f"{path} leads through a list of {len(place)}, which has no item {name}")


async def _replace(
    system: System, state: AgentState, value: dict[str, Json], if_revision: int | None
) -> AgentState:
    expected = state.revision if if_revision is None else if_revision
    text = msgspec.json.encode(value) if value else b""
    change: dict[str, object] = {"from_revision": state.revision, "bytes": len(text)}
    with acting("state.set" if value else "state.reset", state.agent_id):
        async with system.operator_log.writing("state", change=change) as noted:
            done, revision = await system.store.agent(state.agent_id).set_state(
                expected, text, by_operator=True
            )
            noted.facts = {**change, "revision": revision, "written": bool(done)}
    if not done:
        raise StateChanged(
            f"the state of {state.agent_id} has revision {revision}, not {expected}",
            hint=f"mas state get {state.agent_id}",
            expected=expected,
            found=revision,
        )
    return AgentState(state.agent_id, revision, value)
