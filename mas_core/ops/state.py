"""State of agents: look at it, change it, reset it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from copy import deepcopy
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
    system.access.require("open", "to read a state")
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
    return await _replace(system, state, with_part(state, path, value), if_revision)


def with_part(state: AgentState, path: str, value: Json) -> dict[str, Json]:
    """A state with another value at a dotted path; objects on the way are made. `.` replaces all of it.

    Raises:
        InvalidPayload: The path leads nowhere, or the whole state would not be an object.
    """
    if path == WHOLE:
        if not isinstance(value, dict):
            raise InvalidPayload("a whole state has to be a JSON object")
        return value
    whole = deepcopy(state.value)
    place: Json = whole
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
    return whole


def merged_with(state: AgentState, patch: dict[str, Json]) -> dict[str, Json]:
    """A state with a JSON merge patch applied, as RFC 7396 has it: null takes away, objects are merged."""
    return _merged(state.value, patch)


def without_parts(state: AgentState, paths: Sequence[str]) -> dict[str, Json]:
    """A state without these parts.

    Raises:
        KeyNotFound: There is no such part.
        InvalidPayload: A part is an item of a list, which others would take the place of.
    """
    whole = deepcopy(state.value)
    for path in paths:
        part(state, path)
        if path == WHOLE:
            return {}
        parents, _, last = path.rpartition(".")
        place = part(AgentState(state.agent_id, state.revision, whole), parents or WHOLE)
        if not isinstance(place, dict):
            raise InvalidPayload(f"{path} is an item of a list; take away the whole list")
        place.pop(last, None)
    return whole


def only_parts(state: AgentState, names: Sequence[str]) -> dict[str, Json]:
    """What is left of a state when all but these first names goes.

    Raises:
        KeyNotFound: There is nothing of this name.
    """
    return {name: part(state, name) for name in names}


async def replace(system: System, before: AgentState, value: dict[str, Json]) -> AgentState:
    """Give an agent another state in place of the one that `get` gave.

    Raises:
        StateChanged: It is no longer what it was.
    """
    return await _replace(system, before, value, before.revision)


async def revisions(system: System) -> list[tuple[str, int, int]]:
    """Every agent that has a state, with its revision and its size in bytes."""
    found = []
    for agent_id in sorted(await system.store.records.agent_ids()):
        revision, text = await system.store.agent(agent_id).get_state()
        if revision:
            found.append((agent_id, revision, len(text or b"")))
    return found


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


def _merged(value: Json, patch: dict[str, Json]) -> dict[str, Json]:
    result = dict(value) if isinstance(value, dict) else {}
    for name, item in patch.items():
        if item is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), item) if isinstance(item, dict) else item
    return result


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
