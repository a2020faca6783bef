"""What a measurement makes of what sender and receiver saw."""

from __future__ import annotations

from array import array

import pytest

from mas_core.errors import UsageError
from mas_core.ops.bench.budget import parse_budget
from mas_core.ops.bench.figures import Use, spread
from mas_core.ops.bench.load import Load, Sent, drive, payload
from mas_core.ops.bench.receiving import ReceiverReport
from mas_core.ops.bench.send import result_of

NOTHING = Use(0, 0.0, 0.0)


def test_lost_duplicated_and_refused_messages_are_told_apart():
    """Message 1 came twice, 2 was confirmed and never came, 3 was refused."""
    sent = Sent(array("q", [10, 20, 30, 40]), array("q", [15, 25, 35, 0]), refused=1)
    report = ReceiverReport(array("q", [1_000_010, 2_000_020, 0]).tobytes(), duplicated=1, cpu_s=0.0)

    result = result_of(sent, report, Use(3, 0.000_3, 0.0))

    assert (result.sent, result.handled, result.refused, result.lost, result.duplicated) == (4, 2, 1, 1, 1)
    assert (result.handler_p50_ms, result.gateway_cpu_us_per_message) == (2.0, 75.0)
    assert not result.is_complete


def test_a_complete_run_has_all_handled_once():
    """Nothing lost and nothing twice."""
    sent = Sent(array("q", [1, 2]), array("q", [3, 4]))
    report = ReceiverReport(array("q", [5, 6, 0, 0]).tobytes(), duplicated=0, cpu_s=0.0)

    assert result_of(sent, report, NOTHING).is_complete


@pytest.mark.parametrize("load", [Load(count=10, burst=4), Load(count=10, rate=100_000), Load(count=10)])
async def test_a_load_goes_out_in_whole(load):
    """Every number once, whatever the way."""
    numbers: list[int] = []

    async def work(first, count):
        numbers.extend(range(first, first + count))

    assert await drive(load, work, lambda _done: None) == 10
    assert sorted(numbers) == list(range(10))


@pytest.mark.parametrize(
    "load", [Load(), Load(count=1, size=0), Load(count=1, concurrency=0), Load(count=-1)]
)
def test_a_load_without_sense_is_refused(load):
    """Nothing is sent then."""
    with pytest.raises(UsageError):
        load.check()


@pytest.mark.parametrize("size", [40, 300, 5000])
def test_a_payload_has_about_the_size_that_was_asked_for(size):
    """As JSON without spaces, with a number of six digits."""
    import msgspec

    assert len(msgspec.json.encode({**payload(size), "number": 100_000})) == size


def test_percentiles_are_of_the_sorted_times():
    """In milliseconds."""
    found = spread(range(100_000_000, 0, -1_000_000))

    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (51.0, 96.0, 100.0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("p99<6ms", True), ("p99<5ms", False), ("p99<=5000us", True), ("rate>99", True), ("rate>100", False)],
)
def test_budgets_bound_figures_by_their_short_names(text, kept):
    """Times with or without unit, rates without."""
    assert parse_budget(text).is_kept({"p99_ms": 5.0, "rate_per_s": 100.0}) is kept


@pytest.mark.parametrize("text", ["", "p99", "p99<", "p99<5min", "<5", "rate>1ms"])
def test_what_is_no_budget_is_refused(text):
    """With the figures there are, or an example."""
    with pytest.raises(UsageError):
        parse_budget(text).is_kept({"rate_per_s": 100.0})
