"""Where the commands of a pipeline go on a Cluster."""

from collections import Counter

import pytest
from redis.crc import key_slot

from mas_core.store.command_slots import KEYLESS, slot_of, slots_of, streams_apart, waits_ms
from mas_core.store.keys import Keys

A, B = "mas:{a}:x", "mas:{b}:x"


@pytest.mark.parametrize(
    "command",
    [
        ("HGET", A, "field"),
        ("XADD", A.encode(), "*", "h", b"x"),
        ("EVALSHA", "sha", 2, A, "mas:{a}:y", "argument"),
        ("XREAD", "COUNT", 4, "BLOCK", 1000, "STREAMS", A, "mas:{a}:y", "0", "0"),
        ("XREADGROUP", "GROUP", "agent", "STREAMS-consumer", "COUNT", 4, "STREAMS", A, ">"),
        ("XGROUP", "CREATE", A, "agent", "0", "MKSTREAM"),
        ("XINFO", "GROUPS", A),
    ],
)
def test_a_command_goes_where_its_first_key_is(command):
    """Whatever stands before the key."""
    assert slot_of(command) == key_slot(b"a")


@pytest.mark.parametrize(
    "command", [("PING",), ("TIME",), ("EVALSHA", "sha", 0, "x"), ("SCRIPT", "LOAD", "x")]
)
def test_a_command_without_a_key_goes_anywhere(command):
    """Alone."""
    assert slot_of(command) == KEYLESS
    assert slots_of([command]) == [0]


def test_the_time_is_asked_of_the_server_that_has_the_keys():
    """So that what it says fits what the scripts there compare it with."""
    assert slots_of([("TIME",), ("HGET", A, "f"), ("HGET", B, "f")]) == [
        key_slot(b"a"), key_slot(b"a"), key_slot(b"b"),
    ]  # fmt: skip


def test_streams_of_several_slots_are_read_apart():
    """Each for itself and without waiting; those of one slot stay together."""
    command = ("XREAD", "COUNT", 4, "BLOCK", 250, "STREAMS", A, B, "1-0", "2-0")

    assert streams_apart(command) == [
        ("XREAD", "COUNT", 4, "STREAMS", A, "1-0"),
        ("XREAD", "COUNT", 4, "STREAMS", B, "2-0"),
    ]
    assert waits_ms(command) == 250
    assert streams_apart(("XREAD", "BLOCK", 1, "STREAMS", A, "mas:{a}:y", "0", "0")) == []
    assert streams_apart(("BLPOP", A, 1)) == []


@pytest.mark.parametrize("partitions", [2, 3, 6, 16, 64])
@pytest.mark.parametrize("masters", [2, 3, 4])
def test_the_partitions_spread_over_the_masters(partitions, masters):
    """Masters with equal parts of the slots get equal parts of the work, as far as that can be divided."""
    keys = Keys("mas", partitions)
    slots = [key_slot(keys.meta(number).encode()) for number in range(partitions)]
    counts = Counter(slot * masters // 16384 for slot in slots)

    assert max(counts.values()) - min(counts[number] for number in range(masters)) <= 1


def test_the_keys_of_a_partition_lie_together():
    """So that one script can write all of them."""
    keys = Keys("mas", 3)
    for number in range(3):
        names = (keys.meta(number), keys.audit(number), keys.inbox(number, "bob", "low"), keys.later(number))
        assert len({key_slot(name.encode()) for name in names}) == 1


def test_the_policy_and_its_history_lie_together():
    """One script writes both."""
    keys = Keys("shop", 3)

    assert key_slot(keys.policy().encode()) == key_slot(keys.policy_history().encode())
    assert keys.policy_history().startswith("shop:policy:history")
