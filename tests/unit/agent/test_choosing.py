"""In which order agents may get a message, by each strategy."""

import random
from collections import Counter

import pytest

from mas_core.agent.choosing import Memory, in_order, sticky_key
from mas_core.model.routing import Candidate, RoutingRule

NAMES = [f"w{number}" for number in range(10)]


def rule(strategy, **options):
    return RoutingRule(("capability:a", "capability:b"), strategy=strategy, **options)


def ordered(strategy, agents, memory=None, key="", **options):
    ways = in_order(rule(strategy, **options), agents, memory or Memory(), key, random.Random(7))
    return [way.agent for way in ways]


def test_the_least_loaded_by_instance_comes_first_and_equals_take_turns():
    """What was given since the load was told counts as load."""
    agents = [Candidate("a", load=4, instances=4), Candidate("b", load=2), Candidate("c", load=1)]
    memory = Memory()
    memory.note("c")

    assert ordered("least_loaded", agents) == ["a", "c", "b"]
    assert ordered("least_loaded", agents, memory) == ["a", "b", "c"]
    idle = [Candidate(name) for name in NAMES]
    turns, memory = [], Memory()
    for _ in NAMES:
        turns.append(ordered("least_loaded", idle, memory)[0])
        memory.note(turns[-1])
        memory.given.clear()
    assert turns == NAMES


def test_who_takes_nothing_new_comes_last_whatever_the_strategy():
    """An agent of which all instances end gets a message only where nobody else is left."""
    agents = [Candidate("a", ("a", "b"), active=0), Candidate("b", load=9)]

    for strategy in ("least_loaded", "round_robin", "weighted", "best_match", "sticky"):
        assert ordered(strategy, agents) == ["b", "a"], strategy


def test_the_most_of_the_wanted_capabilities_come_first():
    """Then the load."""
    agents = [Candidate("a", ("a",)), Candidate("b", ("a", "b"), load=5), Candidate("c", ("b", "a"), load=3)]

    assert ordered("best_match", agents) == ["c", "b", "a"]


def test_shares_are_kept_and_nothing_is_nothing():
    """Within the error of so many draws."""
    agents = [Candidate(name) for name in ("a", "b", "c")]
    chance = random.Random(1)
    weighted = rule("weighted", weights={"a": 3, "c": 0})
    firsts = Counter(in_order(weighted, agents, Memory(), "", chance)[0].agent for _ in range(4000))

    assert firsts["c"] == 0
    assert firsts["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_few_keys_move_when_agents_come_and_go():
    """Only those of an agent that left, and about their share to one that came."""
    agents = [Candidate(name) for name in NAMES]
    keys = [f"key-{number}" for number in range(2000)]
    before = {key: ordered("sticky", agents, key=key)[0] for key in keys}
    after = {key: ordered("sticky", agents[1:], key=key)[0] for key in keys}
    more = {key: ordered("sticky", [*agents, Candidate("w10")], key=key)[0] for key in keys}

    assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == "w0"}
    moved = {more[key] for key in keys if before[key] != more[key]}
    assert moved == {"w10"}
    assert 0.05 < sum(before[key] != more[key] for key in keys) / len(keys) < 0.14
    assert all(count > 100 for count in Counter(before.values()).values())


def test_a_key_is_what_the_pointer_points_to_or_the_sender():
    """Whatever kind of value stands there."""
    pointing = rule("sticky", key="/a/0")

    assert sticky_key(rule("sticky"), "alice", {}) == "alice"
    assert sticky_key(pointing, "alice", {"a": [{"y": 1, "x": 2}]}) == '{"x":2,"y":1}'
    assert sticky_key(pointing, "alice", {"a": []}) == "alice"
