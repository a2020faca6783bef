"""The breaker of the library: calls pass, are refused, and are tried again."""

import asyncio
import threading

import pytest

from mas_core import CircuitBreaker, CircuitOpen, InvalidPayload, UsageError
from mas_core.resilience.circuit import Circuit, State


class Clock:
    """Seconds that a test moves."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    """Opens after two failures, for ten seconds."""
    return CircuitBreaker("billing", failures=2, timeout=10, successes=2, jitter=0, clock=clock)


async def fail(error=ConnectionError):
    raise error


async def succeed(word="done"):
    return word


async def opened(breaker):
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await breaker.call(fail)
    assert breaker.state is State.OPEN


async def test_failures_open_it_and_calls_are_refused(breaker):
    """Without calling anything; the error says what and for how long."""
    assert (await breaker.call(succeed), breaker.state, breaker.retry_after) == ("done", "closed", 0)
    await opened(breaker)
    called = []

    with pytest.raises(CircuitOpen) as refused:
        await breaker.call(called.append, 1)

    assert called == []
    assert (refused.value.retry_after, refused.value.details["target"]) == (10.0, "billing")
    assert breaker.retry_after == 10.0


async def test_trials_close_it(breaker, clock):
    """Two of them, after the time-out."""
    await opened(breaker)
    clock.now += 10

    assert breaker.state is State.HALF_OPEN
    await breaker.call(succeed)
    assert breaker.state is State.HALF_OPEN
    await breaker.call(succeed)

    assert breaker.state is State.CLOSED


async def test_a_failed_trial_opens_it_again(breaker, clock):
    """For another time-out."""
    await opened(breaker)
    clock.now += 10

    with pytest.raises(ConnectionError):
        await breaker.call(fail)

    assert (breaker.state, breaker.retry_after) == (State.OPEN, 10.0)


async def test_only_so_many_trials_pass_at_a_time(breaker, clock):
    """The next is refused until one has ended, or was cancelled, which says nothing."""
    await opened(breaker)
    clock.now += 10
    gate = asyncio.Event()
    first = asyncio.create_task(breaker.call(gate.wait))
    await asyncio.sleep(0)

    with pytest.raises(CircuitOpen):
        await breaker.call(succeed)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert (breaker.state, await breaker.call(succeed)) == (State.HALF_OPEN, "done")


async def test_errors_of_the_caller_do_not_count(breaker):
    """Neither as failures nor as successes."""
    with pytest.raises(ConnectionError):
        await breaker.call(fail)
    for _ in range(5):
        with pytest.raises(InvalidPayload):
            await breaker.call(fail, InvalidPayload)
    assert breaker.state is State.CLOSED

    with pytest.raises(ConnectionError):
        await breaker.call(fail)
    assert breaker.state is State.OPEN


async def test_a_share_of_failures_opens_it(clock):
    """Where there are enough calls to speak of one."""
    breaker = CircuitBreaker(failures=100, rate=0.5, calls=6, clock=clock)
    for number in range(6):
        assert breaker.state is State.CLOSED
        if number % 2:
            await breaker.call(succeed)
        else:
            with pytest.raises(ConnectionError):
                await breaker.call(fail)
    with pytest.raises(ConnectionError):
        await breaker.call(fail)

    assert breaker.state is State.OPEN


async def test_it_decorates_functions(breaker):
    """Async and not; all share its state."""

    @breaker
    async def charge(amount):
        """Charge it."""
        raise ConnectionError(amount)

    @breaker
    def refund(amount):
        return amount

    assert (refund(3), charge.__name__, charge.__doc__) == (3, "charge", "Charge it.")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await charge(1)

    with pytest.raises(CircuitOpen):
        await charge(1)
    with pytest.raises(CircuitOpen):
        refund(3)
    with pytest.raises(UsageError):
        breaker(lambda: (yield))


async def test_by_hand(breaker):
    """Tripped and reset."""
    breaker.trip()
    with pytest.raises(CircuitOpen):
        await breaker.call(succeed)

    breaker.reset()

    assert await breaker.call(succeed) == "done"


def test_threads_share_one_breaker(clock):
    """However many ask at the same time, one trial passes, and every call is counted."""
    breaker = CircuitBreaker(failures=10_000, rate=1.0, calls=10_000, jitter=0, timeout=10, clock=clock)
    ready, gate = threading.Barrier(8), threading.Event()
    passed, refused = [], []

    def trial():
        passed.append(1)
        gate.wait(30)

    def fail_often():
        ready.wait(30)
        for _ in range(1250):
            with pytest.raises(ConnectionError):
                breaker.call_sync(raising)

    def raising():
        raise ConnectionError

    def try_once():
        ready.wait(30)
        try:
            breaker.call_sync(trial)
        except CircuitOpen:
            refused.append(1)
            if len(refused) == 7:
                gate.set()

    for work in (fail_often, try_once):
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        if work is fail_often:
            assert breaker.state is State.OPEN
            clock.now += 10

    assert (len(passed), len(refused)) == (1, 7)


def test_it_is_the_circuit_of_the_gateway(breaker):
    """One state machine, not two."""
    assert isinstance(breaker._circuit, Circuit)


@pytest.mark.parametrize(
    "options",
    [{"failures": 0}, {"rate": 0}, {"rate": 1.5}, {"timeout": 0}, {"window": float("inf")}, {"trials": 0}],
    ids=str,
)
def test_a_breaker_that_makes_no_sense_is_refused(options):
    """Where it is made."""
    with pytest.raises(UsageError):
        CircuitBreaker(**options)
