"""The harness itself: it counts each kind of broken promise, so that zeros in its table mean something."""

import os
import time

import pytest
from support.systems import Recorder, live_system

from tests.faults.checker import Ack, Fault, Ledgers, check, recovery_ms
from tests.faults.load import TYPE, Ledger
from tests.faults.outcome import Outcome, table
from tests.faults.rows import all_rows


@pytest.fixture
async def system():
    """A system in which two messages were delivered."""
    async with live_system("memory://", agents=("left", "right"), allow=[("left", "right")]) as running:
        await running.run("right", Recorder)
        sender = await running.client("left")
        running.ids = [(await sender.send("right", TYPE, {"n": number})).message_id for number in range(2)]
        yield running


@pytest.fixture
def ledger(tmp_path):
    """A ledger, and what reading it gives."""

    class Written(Ledger):
        def read(self):
            return Ledgers.read([tmp_path / "ledger"])

    return Written(str(tmp_path / "ledger"))


async def counted(system, ledger, **more):
    """The outcome that the checker draws up."""
    outcome = Outcome("r0", "none")
    await check(outcome, system.system, ledger.read(), **more)
    return outcome


def keep(ledger, message_ids, *, handled=1, pid=1):
    """Write down that messages were acknowledged, and how often each was handled."""
    for number, message_id in enumerate(message_ids):
        ledger.write("a", message_id, "right", number, 1, 2)
        for _ in range(handled):
            ledger.write("h", message_id, 1, pid, number, time.monotonic_ns())


async def test_a_run_without_a_fault_has_no_violation(system, ledger):
    """Everything acknowledged was handled once, and recorded once."""
    keep(ledger, system.ids)
    outcome = await counted(system, ledger)

    assert (outcome.acknowledged, outcome.violations, outcome.offending) == (2, 0, [])


async def test_what_was_acknowledged_and_not_handled_is_lost(system, ledger):
    """And told with what the audit says of it."""
    keep(ledger, system.ids, handled=0)
    outcome = await counted(system, ledger)

    assert (outcome.lost, outcome.undelivered) == (2, 0)
    assert all(
        any(f"lost: {name}" in text and "allowed" in text for text in outcome.offending)
        for name in system.ids
    )


async def test_what_was_recorded_and_not_handled_is_undelivered(system, ledger):
    """Even when its sender was never told that it is on its way."""
    assert (await counted(system, ledger)).undelivered == 2


async def test_what_was_handled_without_a_record_is_unaudited(system, ledger):
    """A handler saw a message that no record allows."""
    keep(ledger, [*system.ids, "01NOBODYKNOWSTHISMESSAGE0"])

    assert (await counted(system, ledger)).unaudited == 1


async def test_what_was_handled_twice_is_duplicated_unless_its_process_was_killed(system, ledger):
    """At-least-once explains what the dead had in hand, and nothing else."""
    keep(ledger, system.ids, handled=2, pid=7)

    alive = await counted(system, ledger)
    killed = await counted(system, ledger, killed=[7])

    assert (alive.duplicated, alive.redelivered) == (2, 2)
    assert (killed.duplicated, killed.redelivered, killed.violations) == (0, 2, 0)


async def test_another_attempt_is_no_duplicate(system, ledger):
    """A handler that failed gets the message again."""
    keep(ledger, system.ids)
    ledger.write("h", system.ids[0], 2, 1, 0, time.monotonic_ns())

    assert (await counted(system, ledger)).violations == 0


async def test_an_error_that_no_sender_should_see_is_a_violation(system, ledger):
    """Faults have clear, retryable errors."""
    keep(ledger, system.ids)
    ledger.write("e", "-", "right", 3, 1, 2, "internal_error")

    assert (await counted(system, ledger)).errors == 1


async def test_a_record_that_was_changed_is_a_violation(system, ledger):
    """The chain is verified after every run."""
    keep(ledger, system.ids)
    store = system.store
    key = store.keys.audit(0)
    entry, _ = (await store.connection.call("XRANGE", key, "-", "+"))[0]
    await store.connection.call("XDEL", key, entry)

    assert (await counted(system, ledger)).broken == 1


def test_recovery_counts_from_the_fault_to_a_message_that_was_sent_after_it():
    """An answer that was on its way does not count, nor a fault that another one overtook."""
    second = 10**9
    acks = [
        Ack("sent-before", "right", 0, 1 * second, 3 * second),
        Ack("sent-after", "right", 0, 3 * second, 4 * second),
        Ack("later", "right", 0, 12 * second, 13 * second),
    ]
    faults = [
        Fault(2 * second, (0,)),
        Fault(9 * second, (0,)),
        Fault(11 * second, (0,)),
        Fault(5 * second, (1,)),
    ]

    assert recovery_ms(acks, faults, 1) == [2000, 2000]


def test_the_table_has_a_line_for_each_row_in_order_of_their_numbers():
    """r10 comes after r9, and a row that was not run says why."""
    outcomes = [
        Outcome("r10", "b", skipped="no root"),
        Outcome("r9", "a", runs=1_000, recovery_ms=[100, 900]),
    ]
    lines = table(outcomes).splitlines()

    assert lines[2].startswith("| r9  | a     | 1,000 |")
    assert "0.10 s | 0.90 s" in lines[2]
    assert "skipped: no root" in lines[3]


def test_every_row_says_how_often_it_runs():
    """And none has the name of another."""
    rows = all_rows()

    assert rows
    assert all(0 <= row.slice <= row.full for row in rows.values())


def test_ledger_lines_outlive_the_process_that_wrote_them(ledger):
    """Each is written at once; the last one may be cut off."""
    if (child := os.fork()) == 0:
        ledger.write("h", "whole", 1, 1, 1, 1)
        os.write(ledger._file, b"h cut-off 1 1")
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)

    assert [item.message_id for item in ledger.read().handled] == ["whole"]
