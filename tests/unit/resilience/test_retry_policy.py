"""Retry policies: which delays they give, which errors they take, and what the decorator makes of functions."""

import asyncio
import random
import statistics
import time

import pytest

from mas_core import CircuitOpen, Forbidden, GatewayDown, InvalidPayload, RetryPolicy, UsageError, retry
from mas_core.model.retry import AS_EVER, MAX_ATTEMPTS, RetryTerms

QUICK = {"base": 0.001, "max_delay": 0.001}
DRAWS = 4_000


def delays(seed=1, **options):
    return list(RetryPolicy(**options).delays(random.Random(seed)))


def nth(number, **options):
    """Many draws of one delay."""
    policy = RetryPolicy(**options)
    chance = random.Random(7)
    return [list(policy.delays(chance))[number] for _ in range(DRAWS)]


def test_fixed_delays_are_all_alike():
    """One fewer than attempts."""
    assert delays(strategy="fixed", attempts=4, base=2, jitter=0) == [2, 2, 2]


def test_exponential_delays_grow_to_their_bound():
    """By the factor, and no further than `max_delay`."""
    found = delays(strategy="exponential", attempts=6, base=1, factor=3, max_delay=10, jitter=0)

    assert found == [1, 3, 9, 10, 10]


def test_jitter_spreads_around_the_delay_and_keeps_its_bound():
    """Evenly within its part, and never above `max_delay`."""
    around = nth(0, base=10, jitter=0.2)
    at_bound = nth(4, attempts=6, base=10, jitter=0.5, max_delay=40)

    assert 8 <= min(around) < 8.1
    assert 11.9 < max(around) <= 12
    assert statistics.mean(around) == pytest.approx(10, abs=0.1)
    assert 20 <= min(at_bound) < 20.3
    assert 39.7 < max(at_bound) <= 40


def test_full_jitter_is_anything_up_to_the_exponential_delay():
    """Uniform from nothing on."""
    third = nth(2, strategy="full_jitter", attempts=4, base=1, factor=2, max_delay=60)

    assert 0 <= min(third) < 0.02
    assert 3.98 < max(third) <= 4
    assert statistics.mean(third) == pytest.approx(2, abs=0.08)


def test_equal_jitter_keeps_half_of_the_delay():
    """And draws the other half."""
    third = nth(2, strategy="equal_jitter", attempts=4, base=1, factor=2, max_delay=60)

    assert 2 <= min(third) < 2.02
    assert 3.98 < max(third) <= 4
    assert statistics.mean(third) == pytest.approx(3, abs=0.05)


def test_decorrelated_jitter_draws_between_the_base_and_three_times_the_last():
    """Within `max_delay`."""
    policy = RetryPolicy(strategy="decorrelated_jitter", attempts=12, base=1, max_delay=30)
    reached = []
    for seed in range(300):
        last = 1.0
        for delay in policy.delays(random.Random(seed)):
            assert 1 <= delay <= min(30, 3 * last)
            last = delay
        reached.append(last)

    assert max(reached) > 25
    assert len({round(delay, 3) for delay in reached}) > 200


def test_a_seed_gives_the_same_delays_again():
    """Whoever asks for the next one of a series gets the next of that series."""
    terms = RetryTerms("decorrelated_jitter", attempts=9)
    series = list(RetryPolicy(strategy="decorrelated_jitter", attempts=9).delays(random.Random("m-1")))

    assert [terms.delay_ms(failures, "m-1") for failures in range(1, 9)] == [
        round(delay * 1000) for delay in series
    ]
    assert terms.delay_ms(1, "m-2") != terms.delay_ms(1, "m-1")


def test_what_counts_without_a_policy():
    """One second, then four."""
    assert [AS_EVER.delay_ms(failures, "any") for failures in (1, 2)] == [1000, 4000]
    assert AS_EVER.attempts == 3


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": MAX_ATTEMPTS + 1},
        {"attempts": 2.5},
        {"base": -1},
        {"base": float("nan")},
        {"base": float("inf")},
        {"max_delay": 86_401},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"jitter": 1.1},
        {"max_elapsed": -1},
        {"strategy": "hopeful"},
        {"retry_on": ConnectionError},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(options):
    """Where it is made."""
    with pytest.raises(UsageError):
        RetryPolicy(**options)


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({}, RuntimeError(), True),
        ({}, InvalidPayload(), False),
        ({}, asyncio.CancelledError(), False),
        ({"retry_on": (ConnectionError,)}, ConnectionResetError(), True),
        ({"retry_on": (ConnectionError,)}, ValueError(), False),
        ({"retry_on": ("gateway_down", "OSError")}, GatewayDown(), True),
        ({"retry_on": ("gateway_down", "OSError")}, ConnectionResetError(), True),
        ({"retry_on": ("gateway_down",)}, Forbidden(), False),
        ({"give_up_on": ("forbidden",)}, Forbidden(), False),
        ({"give_up_on": ()}, InvalidPayload(), True),
    ],
)
def test_which_errors_are_retried(options, error, expected):
    """By class, by code and by name; wrong calls are not, unless asked for."""
    assert RetryPolicy(**options).retries(error) is expected


class Flaky:
    """Fails as often as it is told to."""

    def __init__(self, failures, error=ConnectionError):
        self.calls = 0
        self.failures = failures
        self.error = error

    def sync(self, word, *, loud=False):
        """Fail, or give the word."""
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("no")
        return word.upper() if loud else word

    async def run(self, word, *, loud=False):
        return self.sync(word, loud=loud)


async def test_a_policy_calls_until_it_succeeds():
    """With the arguments of the call; async and not."""
    policy = RetryPolicy(attempts=3, **QUICK)
    flaky, other = Flaky(2), Flaky(2)

    assert await policy.call(flaky.run, "hello", loud=True) == "HELLO"
    assert policy.call_sync(other.sync, "hello") == "hello"

    assert (flaky.calls, other.calls) == (3, 3)


async def test_the_last_error_is_raised():
    """After all attempts; at once where it is not worth another."""
    policy = RetryPolicy(attempts=3, retry_on=(ConnectionError,), **QUICK)
    lasting, wrong = Flaky(9), Flaky(9, ValueError)

    with pytest.raises(ConnectionError):
        await policy.call(lasting.run, "x")
    with pytest.raises(ValueError, match="no"):
        await policy.call(wrong.run, "x")

    assert (lasting.calls, wrong.calls) == (3, 1)


async def test_no_attempt_begins_after_the_time_is_over():
    """What it would wait for counts too."""
    times = iter([0.0, 0.5, 1.1])
    policy = RetryPolicy(attempts=9, max_elapsed=1, clock=lambda: next(times), **QUICK)
    flaky = Flaky(9)

    with pytest.raises(ConnectionError):
        await policy.call(flaky.run, "x")

    assert flaky.calls == 2


async def test_an_error_that_says_how_long_to_wait_is_believed():
    """No attempt comes earlier; what does not fit into the time is given up."""
    flaky = Flaky(9, lambda text: CircuitOpen(text, retry_after=30.0))

    with pytest.raises(CircuitOpen):
        await RetryPolicy(attempts=9, max_elapsed=29, **QUICK).call(flaky.run, "x")

    assert flaky.calls == 1


async def test_the_decorator_takes_async_and_other_functions():
    """Bare, with a policy, or with its parts; names and documentation stay."""
    calls = []

    @retry(attempts=2, **QUICK)
    async def load(number):
        """Load it."""
        calls.append(number)
        if len(calls) < 2:
            raise ConnectionError
        return number

    @retry(RetryPolicy(attempts=2, **QUICK))
    def save(number):
        calls.append(number)
        if len(calls) < 4:
            raise ConnectionError
        return number

    @retry
    def plain():
        return "plain"

    assert (await load(1), save(2), plain()) == (1, 2, "plain")
    assert (calls, load.__name__, load.__doc__) == ([1, 1, 2, 2], "load", "Load it.")


def test_what_cannot_start_over_is_not_decorated():
    """Generators; and a policy beside its parts."""
    with pytest.raises(UsageError):

        @retry
        def numbers():
            yield 1

    with pytest.raises(UsageError):
        retry(RetryPolicy(), attempts=2)


async def test_cancelling_ends_the_waiting():
    """A task that waits for its next attempt can be cancelled like any."""
    flaky = Flaky(9)
    task = asyncio.create_task(RetryPolicy(base=3600, max_delay=3600).call(flaky.run, "x"))
    begun = time.monotonic()
    while not flaky.calls:
        await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (flaky.calls, time.monotonic() - begun < 3600) == (1, True)
