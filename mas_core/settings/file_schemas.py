"""JSON Schemas of the files that people write."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.policy_file import PolicyFile
from mas_core.settings.project_config import ProjectConfig

FILES: Final[dict[str, type[BaseModel]]] = {
    "mas.yaml": ProjectConfig,
    "policy.yaml": PolicyFile,
    "agent.yaml": AgentSpec,
}
"""What each kind of file is called, and its model."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(name: str) -> dict[str, object]:
    """The schema of one of `FILES`."""
    return {"$schema": DIALECT, **FILES[name].model_json_schema(by_alias=True)}
