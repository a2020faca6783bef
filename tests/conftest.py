"""Fixtures that every folder of tests may use."""

import pytest
from support.running_system import running_project
from support.server_groups import cluster, sentinels, shared_cluster, shared_sentinels
from support.servers import any_url, every_url, server_url
from support.systems import own_namespace

__all__ = [
    "any_url",
    "cluster",
    "every_url",
    "own_namespace",
    "running_project",
    "sentinels",
    "server_url",
    "shared_cluster",
    "shared_sentinels",
]

CRASHED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config, items):
    """Begin with the files of slow tests where processes share the files, so that none waits for one at the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Note that a process of tests has crashed: what it still had to do did not run."""
    if error:
        node.config.stash[CRASHED] = True


def pytest_sessionfinish(session):
    """End as after an error of pytest itself then, which `make test` does not take for tests that failed."""
    if session.config.stash.get(CRASHED, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
