"""What the URLs of servers and of groups of servers say, and what is refused."""

import pytest

from mas_core.settings.masking import mask_url
from mas_core.store.urls import read_store_url, safe_url


def test_a_cluster_is_named_by_some_of_its_nodes():
    """Ports default, IPv6 stands in brackets, what is encoded is decoded; TLS is for every node."""
    found = read_store_url(
        "rediss+cluster://user:p%40ss@a.example,[::1]:7001,10.0.0.3:7002/0?ssl_ca_certs=/ca"
    )

    assert found.kind == "cluster"
    assert found.addresses == (("a.example", 6379), ("::1", 7001), ("10.0.0.3", 7002))
    assert (found.options["username"], found.options["password"]) == ("user", "p@ss")
    assert found.options["ssl_ca_certs"] == "/ca"
    assert "host" not in found.options


def test_sentinels_name_a_service_and_a_database():
    """Their own password is another than that of the servers."""
    found = read_store_url("redis+sentinel://:secret@s1,s2:26380/main/2?sentinel_password=other")

    assert (found.kind, found.service, found.options["db"]) == ("sentinel", "main", 2)
    assert found.addresses == (("s1", 26379), ("s2", 26380))
    assert found.options["password"] == "secret"
    assert "sentinel_password" not in found.options
    assert found.sentinel_options == {"password": "other"}


def test_the_password_of_the_servers_is_not_told_to_sentinels():
    """Who wants that says so."""
    found = read_store_url("redis+sentinel://user:secret@s1/main")

    assert found.sentinel_options == {}


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://a:1,,b:2",
        "redis+cluster://a:port",
        "redis+cluster://a:1/1",
        "redis+sentinel://a:1",
        "redis+sentinel://a:1/",
        "redis+sentinel://a:1/main/x",
        "redis+sentinel://a:1/main/1/2",
        "redis+mesh://a:1",
        "http://a:1",
        "",
    ],
)
def test_what_is_no_url_of_a_store_is_refused(url):
    """Before anything is connected."""
    with pytest.raises(ValueError):
        read_store_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://user:secret@a:1,b:2",
        "redis+sentinel://:secret@a:1,b:2/main?sentinel_password=secret",
        "rediss+sentinel://a:1,b:2/main/0?sentinel_username=u&sentinel_password=secret&ssl_ca_certs=/ca",
    ],
)
def test_no_password_of_a_group_is_shown(url):
    """Wherever it stands; the places are."""
    for shown in (safe_url(url), mask_url(url)):
        assert "secret" not in shown
        assert "a:1,b:2" in shown
