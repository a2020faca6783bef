"""Elections as a machine: one leader at a time, terms that only grow, whatever candidates do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.coordination.election import CONFIRM_MS, Election, read_group
from mas_core.coordination.machine import Command, Refusal


class Groups:
    """A machine with a clock that only the test moves, and the records as a store would have them."""

    def __init__(self):
        self.now = 1_000_000
        self.records = {}
        self.answers = {}
        self.events = []
        self.number = 0
        self.restart()

    def restart(self):
        """Start over from the records."""
        self.machine = Election(lambda group, term, agent: f"{group}:{term}:{agent}")
        self.machine.load(self.records)

    def say(self, verb, sender, instance="", **data):
        """Send a command; the answer, or None while it waits."""
        self.number += 1
        request, instance = f"m{self.number}", instance or f"{sender}-1"
        self._keep(self.machine.command(Command("g", verb, sender, instance, request, data, self.now)))
        return self.answers.get(request)

    def wait(self, milliseconds):
        """Let time pass, in the steps in which an owner looks."""
        end = self.now + milliseconds
        while self.now < end:
            self.now = min(end, max(self.now + 1, self.machine.next_due() or end))
            if 0 < self.machine.next_due() <= self.now:
                self._keep(self.machine.tick(self.now))

    @property
    def group(self):
        """The record."""
        return read_group(self.records["g"])

    def _keep(self, step):
        self.records.update(step.records)
        self.answers.update({answer.request: answer.data for answer in step.answers})
        self.events += [event.kind for event in step.events]


def test_who_waits_follows_and_has_to_show_that_it_lives():
    """The first in the queue leads when the lease ends, and loses it soon when it is silent."""
    groups = Groups()
    assert groups.say("campaign", "ann", lease_ms=10_000)["elected"]
    assert groups.say("campaign", "bob", lease_ms=10_000, wait_ms=60_000) is None
    assert groups.say("campaign", "eve", lease_ms=10_000, wait_ms=60_000) is None
    groups.wait(10_000)
    assert groups.answers["m2"]["elected"]
    assert (groups.group.leader, groups.group.term) == ("bob", 2)
    groups.wait(CONFIRM_MS)
    assert (groups.group.leader, groups.group.term) == ("eve", 3)
    assert groups.say("renew", "eve", term=3)["expires_in_ms"] == 10_000
    with pytest.raises(Refusal) as refused:
        groups.say("renew", "bob", term=2)
    assert refused.value.code == "not_leader"


def test_an_instance_of_the_same_name_takes_nobodys_place():
    """A candidate with the instance name of another one does not push it out of the queue."""
    groups = Groups()
    groups.say("campaign", "ann")
    assert groups.say("campaign", "bob", "same", wait_ms=60_000) is None
    assert not groups.say("campaign", "eve", "same")["elected"]
    groups.say("resign", "ann", term=1)
    assert groups.group.leader == "bob"


def test_watchers_hear_of_every_change():
    """At once when there is news, otherwise when the waiting is over."""
    groups = Groups()
    groups.say("campaign", "ann")
    assert groups.say("watch", "eve", term=0)["leader"] == "ann"
    assert groups.say("watch", "eve", term=1, leader="ann", wait_ms=5000) is None
    groups.say("resign", "ann", term=1)
    assert groups.answers["m3"]["leader"] == ""
    assert groups.say("watch", "eve", term=1, leader="", wait_ms=5000) is None
    groups.wait(5000)
    assert groups.answers["m5"]["leader"] == ""


def test_an_operator_makes_a_leader_step_down():
    """Whoever waits leads next; without a leader there is nobody to step down."""
    groups = Groups()
    with pytest.raises(Refusal) as refused:
        groups.say("depose", "operator")
    assert refused.value.code == "no_leader"
    groups.say("campaign", "ann")
    groups.say("campaign", "bob", wait_ms=60_000)
    groups.say("depose", "operator")
    assert groups.group.leader == "bob"
    assert groups.events == ["leader.elected", "leader.deposed", "leader.elected"]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["campaign", "queue", "renew", "resign", "depose", "wait", "restart"]),
        st.sampled_from(["ann", "bob", "eve"]),
        st.integers(1, 6),
    ),
    max_size=50,
)


@settings(deadline=None, max_examples=200)
@given(_STEPS)
def test_terms_never_overlap_and_only_grow(steps):
    """Over random histories with restarts, every answer that makes somebody lead is of a later term than before."""
    groups = Groups()
    held: dict[int, tuple[str, int]] = {}
    for what, agent, number in steps:
        try:
            match what:
                case "campaign" | "queue":
                    waits = 60_000 if what == "queue" else 0
                    groups.say("campaign", agent, lease_ms=number * 1000, wait_ms=waits)
                case "renew" | "resign":
                    groups.say(what, agent, term=number)
                case "depose":
                    groups.say("depose", agent)
                case "wait":
                    groups.wait(number * 700)
                case "restart":
                    groups.restart()
        except Refusal:
            pass
        for answer in groups.answers.values():
            if answer.get("elected"):
                leader = str(answer["leader"])
                assert held.setdefault(answer["term"], (leader, answer["since"])) == (leader, answer["since"])
    begins = [since for _, (_, since) in sorted(held.items())]
    assert begins == sorted(begins)
