"""Fixtures that every folder of tests may use."""

from support.running_system import running_project
from support.servers import server_url
from support.systems import own_namespace

__all__ = ["own_namespace", "running_project", "server_url"]
