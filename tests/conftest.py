"""Fixtures that every folder of tests may use."""

from support.servers import server_url
from support.systems import own_namespace

__all__ = ["own_namespace", "server_url"]
