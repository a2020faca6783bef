"""Which servers keep what a profile promises, and what is said of those that do not."""

from dataclasses import replace

import pytest

from mas_core.store.profiles import ServerFacts, replicas_of, shortfalls

WELL = ServerFacts("", "redis", "7.2.0", (7, 2), "always", "noeviction", 1, True, 1000)


@pytest.mark.parametrize("profile", ["fast", "durable", "ha"])
def test_a_server_that_has_it_all_is_taken(profile):
    """For every profile."""
    assert shortfalls(profile, [WELL, replace(WELL, place="b:1")]) == []


@pytest.mark.parametrize(
    ("profile", "changed", "said"),
    [
        ("fast", {"append_only": "off"}, "needs appendfsync everysec"),
        ("fast", {"append_only": "no"}, "needs appendfsync everysec"),
        ("durable", {"append_only": "everysec"}, "needs appendfsync always"),
        ("durable", {"append_only": "unknown"}, "does not tell"),
        ("fast", {"eviction": "allkeys-lru"}, "drops messages and audit"),
        ("fast", {"compatible": (6, 0), "version": "6.0.9"}, "needs Redis 6.2"),
        ("ha", {"replicas": 0}, "needs a replica"),
        ("ha", {"needs_replicas": False}, "needs min-replicas-to-write 1"),
    ],
)
def test_what_is_missing_is_named_with_a_way_out(profile, changed, said):
    """One shortfall each, also where it is one of several nodes, which is named then."""
    (alone,) = shortfalls(profile, [replace(WELL, **changed)])
    (one_of_two,) = shortfalls(profile, [WELL, replace(WELL, place="b:7001", **changed)])

    assert said in alone.message
    assert alone.fix
    assert "b:7001" in one_of_two.message


def test_replicas_matter_to_ha_only():
    """The others neither ask for them nor wait for them."""
    lonely = replace(WELL, replicas=0, needs_replicas=False)

    assert shortfalls("durable", [lonely]) == []
    assert [replicas_of(profile) for profile in ("fast", "durable", "ha")] == [0, 0, 1]
