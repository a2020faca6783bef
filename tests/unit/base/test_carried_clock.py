"""The server's clock as agents carry it on."""

import time

from mas_core.base.clock import CarriedClock


def test_a_change_of_our_clock_does_not_change_the_server_s(monkeypatch):
    """Row R13: what is stamped after a jump of our clock is as young as before it."""
    clock = CarriedClock()
    clock.set(5_000_000)

    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert 0 <= clock.now_ms() - 5_000_000 < 60_000


def test_it_goes_on_from_what_was_read_last():
    """A reading replaces the one before, also where that said later."""
    clock = CarriedClock()
    clock.set(9_000_000)
    clock.set(1_000)

    before = clock.now_ms()
    time.sleep(0.002)

    assert 1_000 <= before < clock.now_ms() < 61_000
