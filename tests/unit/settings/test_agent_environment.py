"""Agents that are started by hand read their defaults from the environment."""

import pytest

from mas_core.errors import ConfigurationError
from mas_core.settings.agent_environment import read_agent_environment


def test_known_names_are_read_and_the_longer_wins():
    """`MAS_` names win over the short ones; nothing set gives the documented defaults."""
    found = read_agent_environment(
        {"AGENT_ID": "a", "REDIS_URL": "redis://r", "MAS_URL": "redis://m", "AGENT_DEFAULT_TIMEOUT": "2.5"}
    )

    assert (found.agent_id, found.url, found.request_timeout_s) == ("a", "redis://m", 2.5)
    assert read_agent_environment({}).heartbeat_interval_s == 30
    assert read_agent_environment({"AGENT_COMMUNICATION_MODE": "mock"}).url == "memory://"


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_what_is_no_duration_is_refused(text):
    """The error names the variable."""
    with pytest.raises(ConfigurationError, match="AGENT_HEARTBEAT_INTERVAL"):
        read_agent_environment({"AGENT_HEARTBEAT_INTERVAL": text})
