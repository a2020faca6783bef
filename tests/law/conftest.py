"""Fixtures of the laws."""

import pytest
from support.running_system import running_system


@pytest.fixture(scope="session")
def running_project(tmp_path_factory):
    """The folder of a running system of their own: what they change is nobody else's business."""
    with running_system(tmp_path_factory.mktemp("running") / "demo") as folder:
        yield folder
