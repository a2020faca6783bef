"""Topics as an owner keeps them: one entry for everybody, and keys that are replaced in time."""

import msgspec
import pytest

from mas_core.gateway.subscriptions import Subscriptions
from mas_core.gateway.topic_readers import patterns_meet
from mas_core.gateway.topic_records import StoredTopics, TopicRecords, durable_field
from mas_core.gateway.topics import Topics
from mas_core.model.message import Delivery
from mas_core.model.topic import (
    FORGET_AFTER_MS,
    MAX_GENERATIONS,
    DurableSubscription,
    TopicLimits,
    TopicRules,
    WhenFull,
)
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.keys import Keys

KEYS = GatewayKeys.generate()
NOW = 1_000_000


def topics(**rules):
    """The topics of an empty partition, and what they put into commits."""
    effects = []
    stored = StoredTopics({}, TopicRules(**rules), Subscriptions(), "mas", NOW)
    return Topics(None, KEYS, None, None, effects, stored), stored.subscriptions, effects


def commit_of(effects):
    """A commit with everything that was put together."""
    commit = Commit(Keys(), 0, {}, 1000)
    for effect in effects:
        effect(commit)
    return commit


def delivery(text=b'{"n":1}', topic="news"):
    """A message that was published."""
    return Delivery("m1", "alice", f"topic:{topic}", "news", text, NOW, NOW + 1000)


def test_one_message_to_a_thousand_subscribers_is_written_once():
    """The commit holds its payload once, in one entry, however many are subscribed."""
    made, subscriptions, effects = topics()
    for number in range(1000):
        subscriptions.set(f"agent-{number}", "i", ("news",), NOW)
    made._records.logs["news"] = made._begin("news", NOW)
    made._news.clear()
    made.take_room("topic:news", 5000, NOW)
    made.publish(delivery(b'{"text":"' + b"y" * 5000 + b'"}'))
    made.prepare(NOW)
    _, arguments = commit_of(effects).script_call()
    assert arguments.count("LOG") == 1
    written = sum(len(item) for item in arguments if isinstance(item, bytes))
    assert 5000 < written < 6500
    assert made._records.logs["news"].status.subscribers == 1000


def test_subscriptions_that_are_not_renewed_are_forgotten():
    """And those that say that they want nothing more."""
    subscriptions = Subscriptions()
    subscriptions.set("bob", "i1", ("news", "orders.*"), NOW)
    subscriptions.set("carol", "i2", ("orders.>",), NOW + 10)
    assert [item.agent for item in subscriptions.of("orders.new")] == ["bob", "carol"]
    version = subscriptions.version
    subscriptions.forget_old(NOW + FORGET_AFTER_MS + 1)
    assert [item.agent for item in subscriptions.of("orders.new")] == ["carol"]
    assert subscriptions.version > version
    subscriptions.set("carol", "i2", (), NOW)
    assert list(subscriptions.of("orders.new")) == []


def test_a_full_log_counts_what_is_on_its_way():
    """Until it is known to be in the store; then the store's own count is taken."""
    limits = TopicLimits(max_bytes=1000, when_full=WhenFull.REFUSE)
    made, _, _ = topics(default=limits)
    sizes = []
    while made.fits("topic:news", 100):
        made.take_room("topic:news", 100, NOW)
        sizes.append(1)
    assert len(sizes) == 3
    made._records.logs["news"].set_size(200, 1)
    assert made.fits("topic:news", 100)
    made._records.logs["news"].set_size(900, 1)
    assert not made.fits("topic:news", 100)


def test_the_number_of_topics_is_bounded():
    """One that is there goes on; another one does not begin."""
    made, _, _ = topics(most=1)
    assert made.has_room("topic:news")
    made.take_room("topic:news", 1, NOW)
    assert made.has_room("topic:news")
    assert not made.has_room("topic:olds")


def test_keys_are_replaced_and_kept_as_long_as_something_lies_under_them():
    """At most so many; those under which nothing can lie any more go earlier."""
    records = TopicRecords(AtRest(KEYS.at_rest_key), TopicRules(default=TopicLimits(age_ms=1000)), {}, NOW)
    made, _, _ = topics(default=TopicLimits(age_ms=1000))
    entry = made._begin("news", NOW)
    entry.record.readers["bob/k"] = NOW
    first = entry.record.generations[0]
    records.replace_key(entry, NOW)
    assert [item.number for item in entry.record.generations] == [first.number, first.number + 1]
    assert entry.record.generations[0].replaced == NOW
    assert entry.record.readers == {}
    for step in range(100):
        records.replace_key(entry, NOW + step)
    assert len(entry.record.generations) == MAX_GENERATIONS
    records.replace_key(entry, NOW + 5000)
    assert len(entry.record.generations) == 2
    assert len({item.key for item in entry.record.generations}) == 2


def test_records_are_sealed_and_what_was_changed_begins_anew():
    """A topic whose record somebody wrote gets new keys, and numbers beyond all that it had."""
    at_rest = AtRest(KEYS.at_rest_key)
    made, _, _ = topics()
    entry = made._begin("news", NOW)
    entry.status.last = 41
    stored = dict(
        [
            made._records.record_text(entry.record),
            made._records.status_text("news", entry.status),
            made._records.durable_text(DurableSubscription("bob", "news", NOW)),
        ]
    )
    again = TopicRecords(at_rest, TopicRules(), stored, NOW + 5)
    assert (again.logs["news"].record, again.logs["news"].status.last) == (entry.record, 41)
    assert list(again.durable) == [("bob", "news")]
    assert entry.record.generations[0].key not in b"".join(stored.values())
    swapped = {"topic:olds": stored["topic:news"], durable_field("carol", "news"): stored["durable:bob:news"]}
    spoiled = {**stored, "status:news": b"?" * 60, **swapped}
    hostile = TopicRecords(at_rest, TopicRules(), spoiled, NOW + 5)
    assert set(hostile.spoiled) == {"status:news", "topic:olds", "durable:carol:news"}
    assert hostile.logs["news"].status.last > 41
    assert hostile.logs["olds"].record.generations[0].key != entry.record.generations[0].key


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "*.b", True),
        ("a.>", "a.b.c", True),
        (">", "a", True),
        ("a.>", "a", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.c", False),
        ("*.x", "a.>", True),
        ("*.x", "a.y", False),
    ],
)
def test_patterns_meet_where_a_name_matches_both(one, other, meet):
    """In either order."""
    assert (patterns_meet(one, other), patterns_meet(other, one)) == (meet, meet)


def test_what_a_subscriber_says_is_read_strictly():
    """Unknown fields and endless lists are refused before anything is done with them."""
    from mas_core.gateway.controls import read_control
    from mas_core.model.topic import SubscribeData

    for text in (b'{"live":["a"],"more":1}', b'{"live":[' + b'"a",' * 200 + b'"a"]}', b'{"after":5}', b"[]"):
        with pytest.raises(msgspec.DecodeError):
            read_control(text, SubscribeData)
