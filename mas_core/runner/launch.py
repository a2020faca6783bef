"""What a process that runs one instance is told, and what it reports.

It is told on its standard input, so that no list of processes shows it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mas_core.settings.agent_spec import AgentSpec

RETIRE = b"retire\n"
"""What a running instance is told on its standard input when it is to finish and end."""


class ConnectionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How an instance reaches the system and proves who it is."""

    url: str
    """URL of the Redis server, with its password; or grpcs://HOST:PORT of a server of agents, which has none."""
    tls: tuple[str, str, str] | None = None
    """Who the instance is to a server of agents: paths of certificate, key and authorities."""
    namespace: str = "mas"
    partitions: int = 1
    tokens_dir: str
    """Folder of the token files; a token itself is never passed on."""
    config_path: str = ""
    """The mas.yaml of the project."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one instance needs to know; one line of JSON."""

    spec: dict[str, Any]
    number: int
    """Which of the instances of the agent this is, from 1."""
    connection: ConnectionFacts
    folder: str
    """The project; programs run in it."""
    class_folders: list[str] = []
    class_prefixes: list[str] = []
    slot: str = ""
    """The place of this instance: a new one in the same place replaces one that was killed."""
    drain_s: float = 20.0
    """How long it may finish what it has in hand."""
    status_fd: int
    """Where the process reports, one line of JSON each."""

    def agent_spec(self) -> AgentSpec:
        """The spec as a model."""
        return AgentSpec.model_validate(self.spec)


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an instance says to its supervisor."""

    kind: Literal["ready", "failed"]
    message: str = ""
    code: str = ""
    hint: list[str] = []
    retryable: bool = True
    """Whether another attempt makes sense without a change."""
    wants_token: bool = False
    """Whether the token was refused or is missing, so that another attempt makes sense with another token file."""
    files: list[str] = []
    """Files of the project that it imported."""
