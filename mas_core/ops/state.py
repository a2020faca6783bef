"""State of agents: look at it, change it, reset it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mas_core.errors import InvalidPayload, KeyNotFound, StateChanged
from mas_core.model.json_text import parse_json
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System

Json = object


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
    value = parse_json(text) if text else {}
    return AgentState(agent_id, revision, value if isinstance(value, dict) else {})


def part(state: AgentState, path: str) -> Json:
    """The part of a state at a dotted path such as `notes.0.text`.

    Raises:
        KeyNotFound: There is nothing.
    """
    value: Json = state.value
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
    """Set the part of a state at a dotted path; objects on the way are made.

    Args:
        system: The system.
        agent_id: Whose state.
        path: Such as `settings.limit`.
        value: Any JSON value.
        if_revision: Only if the state still has this revision; otherwise only if nobody changes it meanwhile.

    Raises:
        AgentNotFound: The agent is not registered.
        StateChanged: The revision is another.
        InvalidPayload: The path leads through something that is not an object.
    """
    state = await get(system, agent_id)
    target: dict[str, Json] = state.value
    *parents, last = path.split(".")
    for name in parents:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InvalidPayload(f"{name} in {path} is not an object, so nothing can be set below it")
        target = inner
    target[last] = value
    return await _replace(system, state, state.value, if_revision)


async def reset(system: System, agent_id: str) -> AgentState:
    """Empty the state, so that the agent starts from its defaults; returns what it was.

    A running instance learns of it with its next change or `refresh_state()`.

    Raises:
        AgentNotFound: The agent is not registered.
    """
    before = await get(system, agent_id)
    await _replace(system, before, {}, before.revision)
    return before


async def _replace(
    system: System, state: AgentState, value: dict[str, Json], if_revision: int | None
) -> AgentState:
    expected = state.revision if if_revision is None else if_revision
    text = msgspec.json.encode(value) if value else b""
    done, revision = await system.store.agent(state.agent_id).set_state(expected, text)
    if not done:
        raise StateChanged(
            f"the state of {state.agent_id} has revision {revision}, not {expected}",
            hint=f"mas state get {state.agent_id}",
            expected=expected,
            found=revision,
        )
    return AgentState(state.agent_id, revision, value)
