"""URLs of servers of agents."""

import pytest

from mas_core.errors import UsageError
from mas_core.remote.system import address_of


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpcs://localhost:7443", "localhost:7443"),
        ("grpcs://server.example", "server.example:7443"),
        ("grpcs://[::1]:9000/", "[::1]:9000"),
    ],
)
def test_a_url_gives_an_address(url, address):
    """The port may be left out."""
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "grpc://x",
        "grpcs://",
        "grpcs://u:p@x",
        "grpcs://x/path",
        "grpcs://x?a=b",
        "grpcs://x:99999",
        "grpcs://x:y",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    """Nothing in it is ignored in silence."""
    with pytest.raises(UsageError) as refused:
        address_of(url)
    assert "grpcs://localhost:7443" in refused.value.hint[0]
