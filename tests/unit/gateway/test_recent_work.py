"""Rates of what a gateway did, and how long messages lay."""

from mas_core.gateway.recent_work import KEPT_WAITS, SPAN_S, RecentWork


def test_rates_are_of_the_last_seconds_only():
    """A burst counts for the span, and not after it."""
    work = RecentWork()
    first = work.look(0, at=0.0)
    work.refused = 20
    burst = work.look(200, at=2.0)
    for second in range(4, 30, 2):
        later = work.look(200, at=float(second))

    assert first == (0.0, 0.0)
    assert burst == (100.0, 10.0)
    assert later == (0.0, 0.0)
    assert len(work._looks) <= SPAN_S / 2 + 2


def test_the_wait_is_that_of_the_newest_messages():
    """Nothing before there is any; what is old is forgotten."""
    work = RecentWork()
    assert work.p95_ms is None
    work.waits_ms.extend(range(1, 101))
    assert work.p95_ms == 95
    work.waits_ms.extend([7] * KEPT_WAITS)
    assert work.p95_ms == 7
