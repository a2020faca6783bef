"""Counting and keeping what comes."""

from mas_cli.tui.live_buffer import FULL_RATE, KEPT_EVENTS, LiveBuffer
from mas_core.ops.watch import LiveEvent


def event(number=0, decision="allowed", sender="a", target="b", ms=1):
    return LiveEvent(number, sender, target, "x", 1, decision, "", str(number), "", ms)


def test_counts_by_the_second():
    """Rates, refusals and waits come from whole seconds; silence counts as zero."""
    live = LiveBuffer()
    for second, count in ((100, 4), (101, 2), (104, 1)):
        for number in range(count):
            live.add(event(ms=number, decision="denied" if number == 0 else "allowed"), now=second + 0.5)
    live.advance(105)

    assert live.series("in")[-5:] == [4, 2, 0, 0, 1]
    assert live.series("refused")[-5:] == [1, 1, 0, 0, 1]
    assert live.series("p95")[-5:] == [3, 1, 0, 0, 0]
    assert live.rates(5) == (7 / 5, 3 / 5)
    assert len(live.series("in")) == 300


def test_an_event_of_an_earlier_second_is_counted_now():
    """Partitions do not come in one order."""
    live = LiveBuffer()
    live.add(event(), now=10)
    live.add(event(), now=9)
    live.advance(11)

    assert live.series("in")[-1] == 2


def test_busiest_pairs_with_their_shares():
    """Of the last minute; older ones are gone."""
    live = LiveBuffer()
    live.add(event(sender="old"), now=1)
    for number in range(8):
        live.add(event(sender="c" if number % 4 == 0 else "a"), now=100)
    live.advance(101)

    assert [(pair[:2], pair[3]) for pair in live.busiest()] == [(("a", "b"), 0.75), (("c", "b"), 0.25)]

    for _ in range(8):
        live.add(event(sender="d"), now=101)
    live.advance(102)

    assert live.busiest()[0][0] == "d"


def test_after_a_number_comes_what_was_kept_since():
    """Newest first, and nothing twice."""
    live = LiveBuffer()
    for number in range(5):
        live.add(event(number), now=1)

    assert [item[0] for item in live.after(3)] == [5, 4]
    assert list(live.after(live.newest)) == []


def test_a_flood_is_sampled_and_refusals_are_not():
    """Memory is bounded, the sampling is told, the counts stay right."""
    live = LiveBuffer()
    for second in (1, 2):
        for number in range(4 * FULL_RATE):
            live.add(event(number, "denied" if number % 100 == 0 else "allowed"), now=second)
    kept = [item for _, item in live.events]
    live.advance(3)

    assert live.sampling == 4
    assert live.seen == 8 * FULL_RATE
    assert sum(item.decision == "denied" for item in kept) == live.refused == 8 * FULL_RATE // 100
    assert len(kept) < 6 * FULL_RATE
    assert live.events.maxlen == KEPT_EVENTS
