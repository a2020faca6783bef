"""Where the systems of these tests are."""

import pytest


@pytest.fixture(params=["memory", "server"])
def any_url(request):
    """URL of the in-process fake, then of a real server."""
    return "memory://" if request.param == "memory" else request.getfixturevalue("server_url")
