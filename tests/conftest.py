"""Fixtures that every folder of tests may use."""

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
