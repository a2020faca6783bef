"""A project and a user without the settings of the machine."""

import os

import pytest

from mas_core.settings.project import project_at


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("MAS_", "GATEWAY_", "REDIS_", "AGENT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def project(tmp_path):
    """A project named shop with an empty agents.d."""
    root = tmp_path / "shop"
    (root / "agents.d").mkdir(parents=True)
    (root / "mas.yaml").write_text("name: shop\n")
    return project_at(root)
