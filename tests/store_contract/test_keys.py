"""No two things share a key, and no id can make them."""

import inspect
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from mas_core.base.ids import (
    check_agent_id,
    check_capability,
    check_message_id,
    check_message_type,
    partition_of,
)
from mas_core.base.resources import KINDS
from mas_core.errors import InvalidIdentifier
from mas_core.model.priority import LANES
from mas_core.store.keys import CLUSTER_SLOTS, Keys, Layout, partition_tag

agent_ids = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
instances = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
partitions = st.integers(0, 3)
lanes = st.sampled_from(LANES)
arguments = {
    "partition": partitions,
    "agent_id": agent_ids,
    "lane": lanes,
    "instance": instances,
    "session": instances,
    "bucket": st.integers(0, 10**6),
    "number": st.integers(1, 10**6),
    "subject": st.one_of(
        agent_ids,
        agent_ids.map("role:{}".format),
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True).map("capability:{}".format),
    ),
    "window": st.sampled_from(["second", "minute", "hour"]),
    "approval_id": st.from_regex(r"[0-9]{1,5}-[0-9]{1,16}", fullmatch=True),
    "scheduled": st.from_regex(r"[a-z0-9]{1,20}/[a-z0-9]{1,20}/[A-Za-z0-9._-]{1,40}", fullmatch=True),
    "kind": st.sampled_from(KINDS),
    "name": st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{1,20}){0,3}", fullmatch=True),
    "role": st.sampled_from(["gateway", "front", "auditor", "operator"]),
    "order_id": st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
}
BUILDERS = sorted(
    name
    for name, _ in inspect.getmembers(Keys, inspect.isfunction)
    if not name.startswith("_") and name not in ("follow", "prefix", "should_expire")
)


def things():
    """One thing that has a key: how its name is built and from what."""

    def of(name):
        parameters = list(inspect.signature(getattr(Keys, name)).parameters)[1:]
        return st.tuples(st.just(name), st.tuples(*(arguments[item] for item in parameters)))

    return st.sampled_from(BUILDERS).flatmap(of)


@given(one=things(), other=things())
def test_different_things_never_share_a_key(one, other):
    """Names are built in a way that can be undone, whatever the ids."""
    keys = Keys("mas", 4)

    first, second = (getattr(keys, name)(*values) for name, values in (one, other))

    assert (first == second) == (one == other)


@given(
    thing=things(), namespaces=st.lists(st.sampled_from(["mas", "mas2", "m", "a-b"]), min_size=2, max_size=2)
)
def test_namespaces_never_share_a_key(thing, namespaces):
    """Several systems can use one server."""
    name, values = thing
    first, second = (getattr(Keys(namespace, 4), name)(*values) for namespace in namespaces)

    assert (first == second) == (namespaces[0] == namespaces[1])


@given(thing=things())
def test_keys_of_a_partition_lie_in_one_slot(thing):
    """So one script can write all of them on a cluster."""
    name, values = thing
    keys = Keys("mas", 4)
    if "partition" not in inspect.signature(getattr(Keys, name)).parameters:
        return

    key = getattr(keys, name)(*values)

    assert key_slot(key.encode()) == key_slot(keys.meta(values[0]).encode())


@pytest.mark.parametrize("nodes", [3, 4, 6, 12])
@pytest.mark.parametrize("count", [3, 4, 6, 12, 16, 100])
def test_partitions_spread_over_the_nodes_of_a_cluster(count, nodes):
    """Whatever their number: of nodes that share the slots evenly, none has many more than another."""
    slots = [key_slot(partition_tag(number).encode()) for number in range(count)]

    each = Counter(slot * nodes // CLUSTER_SLOTS for slot in slots)

    assert max(each.values()) - min(each[node] for node in range(nodes)) <= 1


def test_a_partition_keeps_its_keys_when_their_number_changes():
    """So what stays need not be moved."""
    keys = Keys("mas", 4)
    before = [keys.audit(number) for number in range(4)]
    keys.follow(Layout(2, 2, 4))

    assert [keys.audit(number) for number in range(4)] == before
    assert (keys.partitions, keys.width, keys.layout.name) == (2, 4, "2.2")


@given(agent_id=agent_ids, count=st.integers(1, 64))
def test_every_agent_has_one_partition(agent_id, count):
    """Always the same and always one that is there."""
    assert partition_of(agent_id, count) == partition_of(agent_id, count) in range(count)


HOSTILE = [":", "*", "?", "[", "]", "{", "}", "\r", "\n", "\x00", "/", "\\", " ", "\u202e", "\u0430", "\x1b"]


@pytest.mark.parametrize(
    "check",
    [check_agent_id, check_message_type, check_message_id, check_capability],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("character", HOSTILE, ids=ascii)
@pytest.mark.parametrize("template", ["{}", "a{}", "{}a", "a{}b", "{}{}"])
def test_ids_with_characters_of_keys_and_patterns_are_refused(check, character, template):
    """In front, in the middle, and at the end, where a line break is easily overlooked."""
    with pytest.raises(InvalidIdentifier):
        check(template.replace("{}", character))


@given(text=st.text())
def test_what_is_taken_as_an_id_is_made_of_harmless_characters(text):
    """Nothing else gets through any of the checks."""
    for check in (check_agent_id, check_message_type, check_message_id, check_capability):
        try:
            check(text)
        except InvalidIdentifier:
            continue
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", text)


@pytest.mark.parametrize("agent_id", ["", "a" * 64, "A", "-a", "_a", "gateway"])
def test_other_ids_that_no_agent_can_have(agent_id):
    """Empty, too long, upper case, a dash in front, and the gateway's own name."""
    with pytest.raises(InvalidIdentifier):
        check_agent_id(agent_id)
