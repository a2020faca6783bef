"""Queues of tasks as a machine: who gets what, what happens when workers vanish, and that a task ends once."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.coordination.machine import Command, Refusal, Step
from mas_core.coordination.task import read_task
from mas_core.coordination.task_board import KEEP_MS
from mas_core.coordination.task_queues import TaskQueues


class Queues:
    """A machine with a clock that only the test moves, and the records as a store would have them."""

    def __init__(self, may_claim=lambda agent, capability: True):
        self.may_claim = may_claim
        self.machine = TaskQueues(may_claim)
        self.now = 1_000_000
        self.records: dict[str, bytes] = {}
        self.finished: dict[str, bytes] = {}
        self.answers: list[Any] = []
        self.events: list[str] = []
        self.number = 0

    def say(self, verb, sender="boss", instance="", **data):
        """Send a command; the answer to it, or None while it waits."""
        self.number += 1
        request = f"m{self.number}"
        step = self.machine.command(
            Command("default", verb, sender, instance or f"{sender}-1", request, data, self.now)
        )
        self._keep(step)
        return self.answer_to(request)

    def assign(self, *ids, **options):
        """Assign tasks of these ids."""
        tasks = [{"task_id": name, "type": "work", **options} for name in ids]
        return self.say("assign", tasks=tasks)

    def take(self, sender="ann", **options):
        """Ids of the tasks that a worker gets at once."""
        instance = options.pop("instance", f"{sender}-1")
        options.setdefault("holds", self.held_by(sender, instance))
        answer = self.say("take", sender, instance, **options)
        return None if answer is None else [task["task_id"] for task in answer["tasks"]]

    def held_by(self, agent, instance):
        """Ids of the tasks that an instance works on."""
        tasks = map(read_task, self.records.values())
        return [task.id for task in tasks if task.is_held_by(agent, instance, task.attempt)]

    def status(self, name):
        """Of one task."""
        return self.say("get", task_id=name)["status"]

    def wait(self, milliseconds):
        """Let time pass, in the steps in which an owner looks."""
        end = self.now + milliseconds
        while self.now < end:
            self.now = min(end, max(self.now + 1, self.machine.next_due() or end))
            if 0 < self.machine.next_due() <= self.now:
                self._keep(self.machine.tick(self.now))

    def restart(self):
        """Start over from the records."""
        self.machine = TaskQueues(self.may_claim)
        self.machine.load(self.records)

    def answer_to(self, request):
        """What came for a command."""
        found = [answer for answer in self.answers if answer.request == request]
        return found[-1].data if found else None

    def _keep(self, step: Step):
        for name, record in step.records.items():
            if record is None:
                del self.records[name]
            else:
                self.records[name] = record
        self.finished.update(step.finished)
        self.answers += step.answers
        self.events += [event.kind for event in step.events]


def test_gives_the_most_urgent_first_and_of_those_the_oldest():
    """Priority, then order; and only what the worker can do."""
    queues = Queues()
    queues.assign("a")
    queues.now += 1
    queues.assign("b", priority=9)
    queues.now += 1
    queues.assign("c", capabilities=["cook"], priority=10)
    queues.assign("d", agent="bob", priority=10)
    assert queues.take(slots=5) == ["b", "a"]
    assert queues.take("bob", slots=1) == ["d"]
    assert queues.take("eve", capabilities=["cook", "clean"]) == ["c"]
    assert queues.take("eve", capabilities=["cook"]) == []


def test_gives_nobody_more_than_its_limit():
    """The limit counts all instances of an agent."""
    queues = Queues()
    queues.assign(*"abcdef")
    assert queues.take(slots=2, limit=3, instance="one") == ["a", "b"]
    assert queues.take(slots=2, limit=3, instance="two") == ["c"]
    assert queues.take(slots=2, limit=3, instance="two") == []
    queues.say("finish", "ann", "one", task_id="a", attempt=1, result={})
    assert queues.take(slots=2, limit=3, instance="two") == ["d"]


def test_a_waiting_worker_gets_what_comes():
    """The answer comes when there is something to do, or when the waiting is over."""
    queues = Queues()
    assert queues.take(wait_ms=1000) is None
    assert queues.take("bob", wait_ms=5000) is None
    queues.wait(1000)
    assert queues.answer_to("m1") == {"tasks": []}
    queues.assign("a")
    assert queues.answer_to("m2")["tasks"][0]["task_id"] == "a"
    assert read_task(queues.records["default/a"]).worker == "bob"


def test_a_lost_worker_costs_an_attempt_and_cannot_end_the_task():
    """The next attempt goes to somebody else once; what the first one says then is refused."""
    queues = Queues()
    queues.assign("a")
    assert queues.take("ann", lease_ms=2000) == ["a"]
    queues.wait(1000)
    assert queues.say("beat", "ann", tasks=[{"task_id": "a", "attempt": 1, "progress": 50}]) == {"lost": []}
    queues.wait(1999)
    assert queues.status("a") == "running"
    queues.wait(1)
    assert queues.status("a") == "waiting"
    assert queues.events == ["task.reassigned"]
    assert queues.take("bob") == ["a"]
    with pytest.raises(Refusal) as refused:
        queues.say("finish", "ann", task_id="a", attempt=1, result={"by": "ann"})
    assert refused.value.code == "stale_attempt"
    assert queues.say("beat", "ann", tasks=[{"task_id": "a", "attempt": 1}]) == {"lost": ["a"]}
    assert queues.say("finish", "bob", task_id="a", attempt=2, result={"by": "bob"})["result"] == {
        "by": "bob"
    }
    assert queues.say("finish", "bob", task_id="a", attempt=2, result={"by": "bob"})["status"] == "done"


def test_fails_after_its_attempts_and_is_tried_again_on_request():
    """Errors use up attempts, with a pause between them; some are final at once."""
    queues = Queues()
    queues.assign("a", max_attempts=2, retry_delay_ms=500)
    error = {"type": "ValueError", "message": "no"}
    queues.take()
    assert queues.say("finish", "ann", task_id="a", attempt=1, error=error)["status"] == "waiting"
    assert queues.take() == []
    queues.wait(500)
    assert queues.take() == ["a"]
    assert queues.say("finish", "ann", task_id="a", attempt=2, error=error)["error"] == error
    assert queues.say("retry", task_id="a")["status"] == "waiting"
    assert queues.take() == ["a"]
    final = queues.say("finish", "ann", task_id="a", attempt=3, error=error, retryable=False)
    assert final["status"] == "failed"


def test_cancelling_reaches_the_worker_and_the_deadline_ends_all():
    """A worker that beats learns that a task is not its own any more."""
    queues = Queues()
    queues.assign("a", "b", timeout_ms=60_000)
    queues.take(slots=1, lease_ms=300_000)
    queues.say("cancel", task_id="a", reason="not wanted")
    assert queues.say("beat", "ann", tasks=[{"task_id": "a", "attempt": 1}]) == {"lost": ["a"]}
    with pytest.raises(Refusal) as refused:
        queues.say("cancel", task_id="a")
    assert refused.value.code == "over"
    queues.wait(60_000)
    assert queues.status("b") == "failed"
    assert queues.take() == []
    assert queues.events == ["task.expired"]


def test_dependencies_come_first_and_their_failure_is_passed_on():
    """A task waits for all it depends on; circles and unknown ones are refused as a whole."""
    queues = Queues()
    tasks = [
        {"task_id": "last", "type": "w", "depends_on": ["one", "two"]},
        {"task_id": "one", "type": "w"},
        {"task_id": "two", "type": "w"},
        {"task_id": "after", "type": "w", "depends_on": ["last"]},
    ]
    queues.say("assign", tasks=tasks)
    assert queues.take(slots=9) == ["one", "two"]
    queues.say("finish", "ann", task_id="one", attempt=1)
    assert queues.take(slots=9) == []
    queues.restart()
    queues.say("finish", "ann", task_id="two", attempt=1)
    assert queues.take(slots=9) == ["last"]
    queues.say("finish", "ann", task_id="last", attempt=1, error={"message": "no"}, retryable=False)
    assert queues.say("get", task_id="after")["error"]["type"] == "dependency"
    circle = [
        {"task_id": "x", "type": "w", "depends_on": ["y"]},
        {"task_id": "y", "type": "w", "depends_on": ["x"]},
    ]
    unknown = [{"task_id": "z", "type": "w", "depends_on": ["nope"]}]
    for wrong, code in ((circle, "cyclic"), (unknown, "unknown_dependency")):
        before = dict(queues.records)
        with pytest.raises(Refusal) as refused:
            queues.say("assign", tasks=wrong)
        assert refused.value.code == code
        assert queues.records == before


def test_s13_delegation_keeps_the_chain_and_never_goes_in_circles():
    """Who assigned what led to a task is kept by the machine; nobody gets back what is done for it."""
    queues = Queues()
    queues.assign("a")
    queues.take("ann")
    sub = {"task_id": "b", "type": "w", "parent": "a", "priority": 0}
    queues.say("assign", "ann", tasks=[sub])
    assert queues.take("boss") == []
    assert queues.say("get", task_id="b")["on_behalf_of"] == ["boss"]
    with pytest.raises(Refusal) as refused:
        queues.say("assign", "eve", tasks=[{**sub, "task_id": "c"}])
    assert refused.value.code == "not_found"
    with pytest.raises(Refusal) as refused:
        queues.say("assign", "ann", tasks=[{**sub, "task_id": "c", "agent": "boss"}])
    assert refused.value.code == "cyclic"
    parent, sender = "a", "ann"
    for depth in range(1, 9):
        name, worker = f"d{depth}", f"w{depth}"
        further = {"task_id": name, "type": "w", "parent": parent, "agent": worker}
        queues.say("assign", sender, tasks=[further])
        assert queues.take(worker)[0] == name
        parent, sender = name, worker
    with pytest.raises(Refusal) as refused:
        queues.say("assign", sender, tasks=[{"task_id": "deep", "type": "w", "parent": parent}])
    assert refused.value.code == "too_deep"


def test_an_answer_that_was_lost_is_given_again():
    """A worker that does not know of a task it has is told again; one that says nothing loses it soon."""
    queues = Queues()
    queues.assign("a", "b")
    assert queues.take(slots=1, lease_ms=60_000) == ["a"]
    assert queues.take(slots=1, lease_ms=60_000, holds=[]) == ["a"]
    assert read_task(queues.records["default/a"]).attempt == 1
    queues.wait(5000)
    assert queues.status("a") == "waiting"


def test_leaving_gives_everything_back_and_waits_no_more():
    """What a stopped worker held is there for others at once, and costs no attempt."""
    queues = Queues()
    queues.assign("a", max_attempts=1)
    assert queues.take(slots=1) == ["a"]
    assert queues.take(slots=1, wait_ms=10_000) is None
    assert queues.say("leave", "ann") == {"given_back": ["a"]}
    assert queues.take("bob") == ["a"]


def test_a_capability_that_the_policy_does_not_give_is_refused():
    """Workers cannot get tasks by claiming what they may not claim."""
    queues = Queues(lambda agent, capability: capability != "admin")
    queues.assign("a", capabilities=["admin"])
    with pytest.raises(Refusal) as refused:
        queues.take(capabilities=["admin"])
    assert refused.value.code == "denied"


def test_what_is_over_is_kept_a_while_and_then_put_away():
    """Finished tasks leave the open records after an hour."""
    queues = Queues()
    queues.assign("a")
    queues.take()
    queues.say("finish", "ann", task_id="a", attempt=1, result={"n": 1})
    queues.wait(KEEP_MS - 1)
    assert "default/a" in queues.records
    queues.wait(2)
    assert queues.records == {}
    assert read_task(queues.finished["default/a"]).result == {"n": 1}


def test_a_long_chain_of_dependencies_fails_as_one():
    """However long the chain is, its failure is passed on, by a word as well as by time."""
    queues = Queues()
    chain = [
        {"task_id": f"t{number}", "type": "w", "depends_on": [f"t{number - 1}"] if number else []}
        for number in range(1000)
    ]
    queues.say("assign", tasks=chain)
    queues.say("cancel", task_id="t0")
    assert queues.status("t999") == "failed"
    queues.say(
        "assign", tasks=[{**task, "task_id": "x" + task["task_id"], "depends_on": ["t0"]} for task in chain]
    )
    assert queues.status("xt999") == "failed"
    assert not queues.machine._board._dependents


def test_an_instance_of_the_same_name_takes_nobodys_place():
    """Instances of other agents may have the same name: whoever waits goes on waiting."""
    queues = Queues()
    assert queues.take("ann", instance="same", wait_ms=10_000) is None
    assert queues.take("eve", instance="same", wait_ms=0) == []
    queues.say("leave", "eve", "same")
    queues.assign("a")
    assert queues.held_by("ann", "same") == ["a"]


def test_moments_do_not_pile_up():
    """However often workers beat, take and give back, what is remembered of it has a bound."""
    queues = Queues()
    queues.assign("a", "b", timeout_ms=86_400_000)
    for _ in range(200):
        assert queues.take(slots=9, lease_ms=300_000, instance="w") == ["a", "b"]
        assert queues.take(slots=9, wait_ms=60_000, instance="x") is None
        for _ in range(5):
            beat = [
                {"task_id": name, "attempt": read_task(queues.records[f"default/{name}"]).attempt}
                for name in "ab"
            ]
            queues.say("beat", "ann", "w", tasks=beat)
            queues.wait(1)
        queues.say("leave", "ann", "x")
        queues.say("leave", "ann", "w")
    assert len(queues.machine._board._agenda._moments) < 100


def test_a_beat_names_a_task_once():
    """Each is written once for each beat, so naming it more often is no way to keep a gateway busy."""
    queues = Queues()
    queues.assign("a")
    queues.take()
    with pytest.raises(Refusal) as refused:
        queues.say("beat", "ann", tasks=[{"task_id": "a", "attempt": 1}] * 2)
    assert refused.value.code == "invalid"


def test_a_list_has_no_results():
    """Two hundred results could be larger than anything that is sent."""
    queues = Queues()
    queues.assign("a")
    queues.take()
    queues.say("finish", "ann", task_id="a", attempt=1, result={"n": 1})
    assert "result" not in queues.say("list")["tasks"][0]
    assert queues.say("get", task_id="a")["result"] == {"n": 1}


def test_a_worker_that_takes_no_more_keeps_what_it_knows_of():
    """What was given to it meanwhile goes back, and costs no attempt; what it works on stays."""
    queues = Queues()
    queues.assign("a", "b", max_attempts=1)
    assert queues.take(slots=1) == ["a"]
    assert queues.take(slots=1) == ["b"]
    assert queues.say("leave", "ann", holds=["a"]) == {"given_back": ["b"]}
    assert queues.take("bob") == ["b"]
    assert queues.held_by("ann", "ann-1") == ["a"]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["assign", "take", "finish", "fail", "beat", "cancel", "leave", "wait", "restart"]),
        st.integers(0, 5),
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(["1", "2"]),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(_STEPS)
def test_a_task_ends_once_whatever_happens(steps):
    """Over random histories with restarts: one result at most, one holder at a time, nothing is lost."""
    queues = Queues()
    held: dict[tuple[str, str, str], int] = {}
    results: dict[str, object] = {}
    assigned = set()
    for what, number, agent, instance in steps:
        name = f"t{number}"
        try:
            match what:
                case "assign":
                    queues.assign(name, max_attempts=100, timeout_ms=10_000_000)
                    assigned.add(name)
                case "take":
                    known = queues.held_by(agent, instance)
                    answer = queues.say("take", agent, instance, slots=2, limit=3, lease_ms=1000, holds=known)
                    for task in answer["tasks"]:
                        held[agent, instance, task["task_id"]] = task["attempt"]
                case "finish" | "fail":
                    attempt = held.get((agent, instance, name), 1)
                    outcome = {"result": {"by": agent}} if what == "finish" else {"error": {"message": "no"}}
                    told = queues.say("finish", agent, instance, task_id=name, attempt=attempt, **outcome)
                    if told["status"] == "done":
                        assert results.setdefault(name, told["result"]) == told["result"]
                case "beat":
                    queues.say("beat", agent, instance, tasks=[{"task_id": name, "attempt": 1}])
                case "cancel" if number == 5:
                    queues.say("cancel", task_id=name)
                case "leave":
                    queues.say("leave", agent, instance)
                case "wait":
                    queues.wait(number * 400)
                case "restart":
                    queues.restart()
        except Refusal:
            pass
        running = [task for task in map(read_task, queues.records.values()) if task.status == "running"]
        for worker in ("ann", "bob", "eve"):
            assert sum(task.worker == worker for task in running) <= 3
    for name in sorted(assigned):
        task = read_task(queues.records[f"default/{name}"])
        if task.status == "running":
            queues.wait(1000)
        if task.is_open:
            queues.take("zoe", slots=256)
            attempt = read_task(queues.records[f"default/{name}"]).attempt
            assert queues.say("finish", "zoe", task_id=name, attempt=attempt)["status"] == "done"
        else:
            assert task.status in ("done", "cancelled")
            assert task.status != "done" or task.result == results[name]
