"""Who waited at a machine that was replaced: an answer, and nothing by it that the policy might refuse by now."""

from support.voting import Hall

from mas_core.coordination.election import Election
from mas_core.coordination.machine import Command
from mas_core.coordination.task_queues import TaskQueues

NOW = 1_000_000


def said(verb, sender, request, **data):
    """A command to `g`."""
    return Command("g", verb, sender, f"{sender}-1", request, data, NOW)


def elections():
    """Election machines, one a time."""
    return Election(lambda group, term, agent: f"{group}:{term}:{agent}")


def replaced(former, machine, later):
    """What those are answered who waited at `former`."""
    return [machine.send_away(command.without_waiting(later)) for command in former.waiting()]


def test_a_candidate_is_not_elected_by_that():
    """Not even where nobody leads any more; a watcher is told who does."""
    former, machine = elections(), elections()
    stored = former.command(said("campaign", "ann", "m1", lease_ms=5_000)).records
    former.command(said("campaign", "bob", "m2", wait_ms=9_000))
    former.command(said("watch", "eve", "m3", term=1, leader="ann", wait_ms=9_000))
    machine.load(stored)

    candidate, watcher = replaced(former, machine, NOW + 6_000)

    assert (candidate.answers[0].request, candidate.answers[0].data["elected"]) == ("m2", False)
    assert (watcher.answers[0].request, watcher.answers[0].data["leader"]) == ("m3", "")
    assert not candidate.records
    assert not machine.waiting()


def test_a_worker_gets_no_task_by_that():
    """It asks again, and may be refused then; who follows a task is told how it stands."""
    former, machine = TaskQueues(lambda *_: True), TaskQueues(lambda *_: True)
    former.command(said("take", "ann", "m1", types=["work"], slots=1, wait_ms=9_000))
    stored = machine.command(said("assign", "boss", "m2", tasks=[{"task_id": "t1", "type": "work"}])).records
    former.load(stored)
    former.command(said("take", "bob", "m3", types=["other"], slots=1, wait_ms=9_000))
    former.command(said("get", "boss", "m4", task_id="t1", wait_ms=9_000))

    worker, follower = replaced(former, machine, NOW + 10)

    assert worker.answers[0].data == {"tasks": []}
    assert not worker.records
    assert (follower.answers[0].request, follower.answers[0].data["status"]) == ("m4", "waiting")
    assert not machine.waiting()


def test_who_waits_for_a_vote_is_told_how_it_stands():
    """And waits no more."""
    hall = Hall()
    hall.open()
    assert hall.say("boss", "get", {"proposals": {"": 1}, "wait_ms": 60_000}) == {}
    (command,) = hall.machine.waiting()
    hall.machine.load(hall.records)

    step = hall.machine.send_away(command.without_waiting(hall.now))

    assert [answer.request for answer in step.answers] == [command.request]
    assert not hall.machine.waiting()
