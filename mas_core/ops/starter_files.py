"""The files of a new project and of a new agent."""

from __future__ import annotations

from typing import Literal

import yaml

ExecMode = Literal["stream", "per_message"]
"""How a program gets its messages: one program for all of them, or one run for each."""

MAS_YAML = """\
# The settings of this project; `mas config where` shows each with its source.
name: {name}
profile: durable
"""

POLICY_YAML = """\
# Nothing is allowed without a rule, and deny wins.
# Cards and secrets in payloads are blocked; `dlp:` changes what happens to each kind.
rules:
  - allow: operator -> *

roles:
  operators: [operator]

limits:
  role:operators: {per_minute: 6000, per_hour: 100000}
"""

GITIGNORE = """\
.mas/
__pycache__/
"""

_CLASS_SPEC = """\
agent_id: {agent_id}
class_path: {module}:{class_name}
instances: 1
"""

_EXAMPLE = """\
metadata:
  description: greets whom you name
  example: {message_type} {{"name":"Ada"}}
"""

_EXEC_SPEC = """\
{comment}
agent_id: {agent_id}
exec: {command}
mode: {mode}
{field}instances: 1
"""

_EXEC_COMMENTS = {
    "stream": """\
# Each message is one line of JSON on the program's standard input, each answer one line on its output:
#   {"id": "...", "type": "...", "sender": "...", "data": {...}, "expects_reply": true}""",
    "per_message": """\
# The program runs once for each message: the payload is its standard input, what it prints the reply.
# `field: NAME` hands over the value of one field of the payload instead of all of it as JSON.""",
}

_MODULE = '''\
"""The agent {agent_id}."""

from pydantic import BaseModel

from mas_core import Agent, AgentMessage


class Greet(BaseModel):
    """Whom to greet."""

    name: str = "world"


class {class_name}(Agent):
    """Try it:  mas request {agent_id} {message_type} '{{"name":"Ada"}}'."""

    @Agent.on("{message_type}", model=Greet)
    async def greet(self, message: AgentMessage, payload: Greet) -> dict[str, object]:
        """What is returned is the reply."""
        return {{"greeting": f"Hello, {{payload.name}}!", "asked_by": message.sender_id}}
'''


def class_spec(
    agent_id: str, module: str, class_name: str, capabilities: list[str], *, example: bool = False
) -> str:
    """The spec of an agent that is a class; with `example` that of one made by `agent_module`."""
    text = _CLASS_SPEC.format(agent_id=agent_id, module=module, class_name=class_name) + _listed(capabilities)
    return text + (_EXAMPLE.format(message_type=_message_type(agent_id)) if example else "")


def exec_spec(agent_id: str, command: list[str], mode: ExecMode, field: str, capabilities: list[str]) -> str:
    """The spec of an agent that is a program."""
    text = _EXEC_SPEC.format(
        comment=_EXEC_COMMENTS[mode],
        agent_id=agent_id,
        command=_in_one_line(command),
        mode=mode,
        field=_in_one_line({"field": field})[1:-1] + "\n" if field else "",
    )
    return text + _listed(capabilities)


def agent_module(agent_id: str, class_name: str) -> str:
    """A module with an agent that answers one message type."""
    return _MODULE.format(agent_id=agent_id, class_name=class_name, message_type=_message_type(agent_id))


def _message_type(agent_id: str) -> str:
    return f"{agent_id.replace('-', '_')}.greet"


def _in_one_line(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip()


def _listed(capabilities: list[str]) -> str:
    return f"capabilities: [{', '.join(capabilities)}]\n" if capabilities else ""
