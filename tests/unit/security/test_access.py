"""Decisions of the access policy and their explanations."""

from __future__ import annotations

import fnmatch
import random
import re
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mas_core.errors import ConfigurationError
from mas_core.model.policy import Features, Mark, PolicyDocument, Rule
from mas_core.security import access
from mas_core.security.access import AccessPolicy
from mas_core.security.access_explanation import explain
from mas_core.security.fair_cache import SHARE, FairCache
from mas_core.security.policy_changes import add_rule, remove_rule

NOW = 1_000_000


def allow(sender, target, message_type="*", **more):
    return Rule("new", "allow", sender, target, message_type, **more)


def deny(sender, target, message_type="*", **more):
    return Rule("new", "deny", sender, target, message_type, **more)


def hold(sender, target, message_type="*", **more):
    return Rule("new", "hold", sender, target, message_type, **more)


def document(*rules, **roles):
    numbered = tuple(
        Rule(**{**{name: getattr(rule, name) for name in Rule.__struct_fields__}, "id": f"r{number}"})
        for number, rule in enumerate(rules, 1)
    )
    return PolicyDocument(rules=numbered, roles=roles)


def policy(*rules, **roles):
    return AccessPolicy(document(*rules, **roles))


def allowed(access_policy, sender, target, message_type="x", *, action="send", now=NOW):
    return access_policy.decide(sender, target, message_type, action, now).allowed


def test_nothing_is_allowed_without_a_rule():
    """An empty policy denies and says what was asked."""
    decision = policy().decide("a", "b", "task.do", "send", NOW)

    assert not decision.allowed
    assert decision.rule_id == ""
    assert decision.reason == "no rule allows it: a may not send task.do to b"


def test_a_rule_allows_its_direction_only():
    """A rule from a to b says nothing about b to a, nor about others."""
    rules = policy(allow("a", "b"))

    assert allowed(rules, "a", "b")
    assert not allowed(rules, "b", "a")
    assert not allowed(rules, "a", "c")
    assert not allowed(rules, "a", "a")


@pytest.mark.parametrize("order", [1, -1])
def test_hold_wins_over_allow_in_any_order(order):
    """What a rule holds may go once a person approved it, and needs no allow; a deny ends it."""
    rules = policy(
        *[allow("a", "b"), hold("a", "b", "pay.*")][::order], hold("a", "c"), deny("a", "b", "pay.big")
    )

    held = rules.decide("a", "b", "pay.bill", "send", NOW)

    assert (held.allowed, held.held) == (False, True)
    assert held.rule_id == ("r2" if order == 1 else "r1")
    assert held.fix == (f"mas rbac revoke {held.rule_id}",)
    assert allowed(rules, "a", "b", "note")
    assert rules.decide("a", "c", "x", "send", NOW).held
    assert not rules.decide("a", "b", "pay.big", "send", NOW).held
    assert rules.may_see("a", "c", NOW)


@pytest.mark.parametrize("order", [1, -1])
def test_deny_wins_over_allow_in_any_order(order):
    """One deny rule is enough, wherever it stands."""
    rules = policy(*[allow("a", "b", "x"), deny("*", "b", reason="on leave")][::order])

    decision = rules.decide("a", "b", "x", "send", NOW)

    assert not decision.allowed
    assert decision.rule_id == ("r2" if order == 1 else "r1")
    assert "(on leave)" in decision.reason


def test_anyone_stands_for_every_agent():
    """`*` counts on either side."""
    rules = policy(allow("*", "b"), allow("a", "*"))

    assert allowed(rules, "z", "b")
    assert allowed(rules, "a", "z")
    assert not allowed(rules, "z", "y")


@pytest.mark.parametrize(
    "name", ["*", "admin*", "role:team", "Admin", "\u0430dmin", "a\n", "", "a:b", "a" * 64]
)
def test_names_that_no_agent_can_have_get_nothing(name):
    """Not even an open policy lets them send, receive or be seen."""
    rules = policy(allow("*", "*"), allow("role:team", "role:team"), team=("a", name))

    assert not allowed(rules, name, "a")
    assert not allowed(rules, "a", name)
    assert not rules.may_see(name, "a", NOW)
    assert explain(rules, name, "a", "x", "send", NOW).fix == ()


def test_roles_stand_for_their_members():
    """`role:x` counts as sender and as target, for members only."""
    rules = policy(allow("role:team", "role:boss"), team=("a", "b"), boss=("c",), rest=("d",))

    assert allowed(rules, "a", "c")
    assert allowed(rules, "b", "c")
    assert not allowed(rules, "c", "a")
    assert not allowed(rules, "d", "c")


def test_an_agent_has_the_rights_of_all_its_roles():
    """Each role adds what it may; a deny of one of them counts."""
    rules = policy(
        allow("role:one", "x"), allow("role:two", "y"), deny("role:two", "x"), one=("a", "b"), two=("a",)
    )

    assert allowed(rules, "a", "y")
    assert not allowed(rules, "a", "x")
    assert allowed(rules, "b", "x")


def test_an_unknown_role_has_no_members():
    """A rule about a role that is not there matches nobody."""
    assert not allowed(policy(allow("role:ghost", "*")), "ghost", "b")


@pytest.mark.parametrize(
    ("glob", "matching", "other"),
    [
        ("*", ["a", "a.b"], []),
        ("a.b", ["a.b"], ["axb", "a.bc", "xa.b", "A.b"]),
        ("a.*", ["a.", "a.b", "a.b.c"], ["a", "xa.b", "ab"]),
        ("*.done", [".done", "x.done", "done.done"], ["done", "x.done2"]),
        ("a?c", ["abc", "a.c"], ["ac", "abbc"]),
        ("a*b*c", ["abc", "a-b-c", "abbc", "abcbc"], ["acb", "ab", "abcd"]),
        ("*?", ["a", "ab"], [""]),
        ("?*.x", ["a.x", "ab.x"], [".x"]),
    ],
)
def test_types_match_whole_globs(glob, matching, other):
    """`*` is any run, `?` one character, everything else itself, from the first to the last character."""
    rules = policy(allow("a", "b", glob))

    assert [text for text in matching + other if allowed(rules, "a", "b", text)] == matching


def test_a_glob_full_of_stars_is_quick():
    """No pattern in a policy can make a decision slow."""
    rules = policy(*[allow("a", "b", "*a" * 63 + "*b")] * 20)
    before = time.process_time()

    assert not allowed(rules, "a", "b", "a" * 128)
    assert time.process_time() - before < 0.5


def test_actions_are_told_apart():
    """A rule for send does not permit requests, and the other way round."""
    rules = policy(allow("a", "b", action="send"), allow("a", "c", action="request"), allow("a", "d"))

    answers = {
        (target, action): allowed(rules, "a", target, action=action)
        for target in "bcd"
        for action in ("send", "request")
    }

    assert [pair for pair, answer in answers.items() if not answer] == [("b", "request"), ("c", "send")]


def test_a_rule_counts_until_it_expires():
    """The first millisecond of `expires` is the first one without the rule, in cached answers too."""
    rules = policy(allow("a", "b", expires=NOW), deny("a", "c", expires=NOW), allow("a", "c"))

    assert [allowed(rules, "a", "b", now=now) for now in (NOW - 2, NOW - 1, NOW, NOW + 1)] == [
        True,
        True,
        False,
        False,
    ]
    assert [allowed(rules, "a", "c", now=now) for now in (NOW - 1, NOW)] == [False, True]


def test_a_longer_rule_takes_over_from_an_expiring_one():
    """The answer names the rule that holds at that moment."""
    rules = policy(allow("a", "b", expires=NOW), allow("a", "b", expires=NOW + 10))

    found = [rules.decide("a", "b", "x", "send", now).rule_id for now in (NOW - 1, NOW, NOW + 9, NOW + 10)]

    assert found == ["r1", "r2", "r2", ""]


def test_s15_new_types_push_out_only_the_answers_of_their_sender():
    """A sender that asks for another type each time neither grows the memory nor empties it for others."""
    rules = policy(allow("a", "b"), allow("c", "b"))
    allowed(rules, "c", "b", "usual")
    kept = rules._decisions.answers["c", "b", "usual", "send"]

    for number in range(5 * SHARE):
        assert allowed(rules, "a", "b", f"type{number}")

    assert sum(key[0] == "a" for key in rules._decisions.answers) == SHARE
    assert rules._decisions.answers["c", "b", "usual", "send"] is kept


def test_the_memory_for_all_is_bounded():
    """However many ask, and whatever is forgotten is found again."""
    cache = FairCache(share=3, most=10)
    for number in range(100):
        cache.keep((f"asker{number % 7}", f"{number}"), number)
        assert cache.answers[f"asker{number % 7}", f"{number}"] == number
        assert len(cache.answers) <= 10


@pytest.mark.parametrize(
    "rule",
    [
        Rule("r1", "permit", "a", "b"),
        Rule("r1", "allow", "a", "b", action="publish"),
        Rule("r1", "allow", "adm*", "b"),
        Rule("r1", "allow", "a", "role:"),
        Rule("r1", "allow", "a", "b\n"),
        Rule("r1", "allow", "a", "b", type="x y"),
        Rule("r1", "allow", "a", "b", type=""),
    ],
)
def test_a_rule_without_sense_makes_the_policy_unusable(rule):
    """A policy that cannot be understood is refused as a whole instead of half applied."""
    with pytest.raises(ConfigurationError, match="r1"):
        AccessPolicy(PolicyDocument(rules=(rule,)))


PEOPLE = ["a", "b", "c", "d"]
PARTIES = [*PEOPLE, "*", "role:one", "role:two"]
TYPES = ["x", "x.y", "x.z", "yx", "xx"]
GLOBS = ["*", "x", "x.*", "?x", "*x", "x.?", "x*", "*.*"]


def seeded(number):
    return random.Random(number)


def random_document(source):
    rules = tuple(
        Rule(
            f"r{number}",
            source.choice(["allow", "allow", "hold", "deny"]),
            source.choice(PARTIES),
            source.choice(PARTIES),
            source.choice(GLOBS),
            source.choice(["send", "request", "*"]),
            source.choice([0, 0, 5, 10]),
        )
        for number in range(source.randint(0, 6))
    )
    roles = {role: tuple(source.sample(PEOPLE, source.randint(0, 3))) for role in ("one", "two")}
    return PolicyDocument(rules=rules, roles=roles)


def matches(policy_document, rule, *question):
    sender, target, message_type, action, now = question

    def stands_for(party, agent):
        if party.startswith("role:"):
            return agent in policy_document.roles[party[5:]]
        return party in ("*", agent)

    return (
        stands_for(rule.sender, sender)
        and stands_for(rule.target, target)
        and fnmatch.fnmatchcase(message_type, rule.type)
        and rule.action in ("*", action)
        and (rule.expires == 0 or now < rule.expires)
    )


def plain_answer(policy_document, *question):
    """What the policy says, found the slow and simple way."""
    found = [rule for rule in policy_document.rules if matches(policy_document, rule, *question)]
    for effect in ("deny", "hold", "allow"):
        for rule in found:
            if rule.effect == effect:
                return effect == "allow", rule.id
    return False, ""


def passes(policy_document, answer):
    """Whether it may go, at least once a person has approved it."""
    is_allowed, rule_id = answer
    held = {rule.id for rule in policy_document.rules if rule.effect == "hold"}
    return is_allowed or rule_id in held


def random_question(source):
    return (
        source.choice(PEOPLE),
        source.choice(PEOPLE),
        source.choice(TYPES),
        source.choice(["send", "request"]),
        source.choice([0, 4, 5, 9, 10, 11]),
    )


def test_decisions_agree_with_a_plain_model():
    """20,000 random questions to 1,000 random policies get the answer of a brute-force search."""
    source = seeded(20)
    for _ in range(1000):
        policy_document = random_document(source)
        rules = AccessPolicy(policy_document)
        for _ in range(20):
            question = random_question(source)
            decision = rules.decide(*question)

            assert (decision.allowed, decision.rule_id) == plain_answer(policy_document, *question)
            assert decision.held is (
                bool(decision.rule_id) and policy_document.rules[int(decision.rule_id[1:])].effect == "hold"
            )


@given(st.randoms(use_true_random=False))
def test_decisions_agree_with_a_plain_model_in_searched_cases(source):
    """The same, where the cases are searched for and made small."""
    policy_document, question = random_document(source), random_question(source)

    decision = AccessPolicy(policy_document).decide(*question)

    assert (decision.allowed, decision.rule_id) == plain_answer(policy_document, *question)


def apply(policy_document, command):
    """What typing the command does to the policy."""
    _mas, _rbac, verb, *arguments = command.split()
    if verb == "revoke":
        return remove_rule(policy_document, *arguments)
    sender, target, _flag, message_type = arguments
    return add_rule(policy_document, allow(sender, target, message_type.strip("'")))


def test_the_fix_permits_the_message():
    """Doing what the explanation says always turns a refusal, and nothing is said about what is permitted."""
    source = seeded(21)
    turned = 0
    for _ in range(3000):
        policy_document, question = random_document(source), random_question(source)
        explanation = explain(AccessPolicy(policy_document), *question)
        assert bool(explanation.fix) is not explanation.decision.allowed

        for command in explanation.fix:
            policy_document = apply(policy_document, command)

        assert plain_answer(policy_document, *question)[0]
        turned += bool(explanation.fix)
    assert turned > 500


def test_near_misses_turn_the_decision_when_their_difference_goes():
    """A near miss differs in just the one thing that it names."""
    source = seeded(22)
    seen = set()
    for _ in range(3000):
        policy_document, question = random_document(source), random_question(source)
        explanation = explain(AccessPolicy(policy_document), *question)
        for miss in explanation.near_misses:
            names = dict(
                zip(["sender", "target", "type", "action"], question[:4], strict=True), expires=0, effect="x"
            )
            mended = {name: getattr(miss.rule, name) for name in Rule.__struct_fields__}
            mended[miss.differs] = names[miss.differs]
            assert (miss.differs == "effect") == matches(policy_document, miss.rule, *question)
            assert matches(policy_document, Rule(**mended), *question)
            assert miss.rule.effect != (explanation.rule.effect if explanation.rule else "deny")
            seen.add(miss.differs)
    assert seen == {"sender", "target", "type", "action", "expires", "effect"}


def test_an_explanation_says_what_would_permit_it():
    """Without a rule the command to type is an allow."""
    explanation = explain(
        policy(allow("billing", "ledger", "invoice.*")), "billing", "ledger", "refund.create", "send", NOW
    )

    assert explanation.rule is None
    assert explanation.fix == ("mas rbac allow billing ledger --type refund.create",)
    assert [(miss.rule.id, miss.differs, miss.detail) for miss in explanation.near_misses] == [
        ("r1", "type", "is for type invoice.*, not refund.create")
    ]


def test_an_explanation_of_a_deny_says_what_to_revoke():
    """Every deny in the way is named, and an allow is added only where there is none."""
    rules = policy(deny("a", "b"), deny("*", "b"), allow("a", "b", "y"))

    without_allow = explain(rules, "a", "b", "x", "send", NOW)
    with_allow = explain(rules, "a", "b", "y", "send", NOW)

    assert without_allow.fix == (
        "mas rbac revoke r1",
        "mas rbac revoke r2",
        "mas rbac allow a b --type x",
    )
    assert with_allow.fix == ("mas rbac revoke r1", "mas rbac revoke r2")
    assert with_allow.rule.id == "r1"
    assert [(miss.rule.id, miss.differs) for miss in with_allow.near_misses] == [("r3", "effect")]


def test_the_best_near_misses_come_first_and_are_few():
    """An expired rule comes before other types, these before other names, and a likely slip before others."""
    rules = policy(
        *[allow("a", f"other{number}") for number in range(9)],
        allow("a", "ledgr"),
        allow("z", "ledger"),
        allow("a", "ledger", "y"),
        allow("a", "ledger", action="request"),
        allow("a", "ledger", expires=1),
    )

    found = [miss.rule.id for miss in explain(rules, "a", "ledger", "x", "send", NOW).near_misses]

    assert found[:4] == ["r14", "r13", "r12", "r10"]
    assert len(found) == 5


def test_a_hostile_type_gets_no_command():
    """What cannot be a message type is never put into a command to type."""
    assert explain(policy(), "a", "b", "x; rm -rf ~", "send", NOW).fix == ()


def test_who_may_send_may_see():
    """Discovery follows the rules: any type and action will do, in the direction of the rule."""
    rules = policy(allow("a", "b", "x.*", action="request"), allow("a", "c", expires=NOW))

    assert rules.may_see("a", "b", NOW)
    assert not rules.may_see("b", "a", NOW)
    assert rules.may_see("a", "c", NOW - 1)
    assert not rules.may_see("a", "c", NOW)


@pytest.mark.parametrize(
    ("given_type", "denied_type", "action", "seen"),
    [
        ("x", "*", "*", False),
        ("x.y", "x.*", "*", False),
        ("x.*", "x*", "*", False),
        ("x.?", "x.*", "*", False),
        ("x?", "x?", "*", False),
        ("*", "x.*", "*", True),
        ("x*", "x?", "*", True),
        ("x.*", "x.*", "send", True),
        ("x.y", "x", "*", True),
    ],
)
def test_a_deny_that_takes_all_back_hides(given_type, denied_type, action, seen):
    """Only a deny that covers everything an allow gives makes the other invisible."""
    rules = policy(allow("a", "b", given_type), deny("a", "b", denied_type, action=action))

    assert rules.may_see("a", "b", NOW) is seen


def test_seeing_agrees_with_a_plain_model():
    """Who may send any type can see; who sees nothing may send nothing; without globs it is exact."""
    source = seeded(23)
    for _ in range(3000):
        policy_document, (sender, target, *_, now) = random_document(source), random_question(source)
        some = any(
            passes(policy_document, plain_answer(policy_document, sender, target, message_type, action, now))
            for message_type in [*TYPES, "other", ".", "a.b", "xab"]
            for action in ("send", "request")
        )
        sees = AccessPolicy(policy_document).may_see(sender, target, now)

        assert sees or not some
        if not any(rule.effect == "deny" for rule in policy_document.rules):
            assert sees is some


@given(
    st.text("ab*?", min_size=1, max_size=5),
    st.text("ab*?", min_size=1, max_size=5),
    st.text("abc", max_size=6),
)
def test_a_covering_glob_matches_all_that_the_other_matches(wide, narrow, text):
    """No text matches the narrow glob without matching the one that covers it."""
    if access.glob_covers(wide, narrow) and fnmatch.fnmatchcase(text, narrow):
        assert fnmatch.fnmatchcase(text, wide)


@given(st.text("ab.*?", min_size=1, max_size=8), st.text("ab.\n", max_size=10))
def test_globs_match_as_in_the_shell(glob, text):
    """Compiled globs agree with a backtracking regular expression."""
    plain = re.escape(glob).replace(r"\*", "(?s:.)*").replace(r"\?", "(?s:.)")

    assert access.compile_glob(glob)(text) == bool(re.fullmatch(plain, text))


def test_a_question_looks_at_few_of_many_rules(monkeypatch):
    """1,000 rules, 200 agents, roles and globs: also a new type each time looks at a handful of rules."""
    source = seeded(24)
    names = [f"agent-{number}" for number in range(200)]
    rules = [
        source.choice([allow, allow, deny, hold])(
            source.choice([*names, "role:team"]), source.choice(names), f"kind{number % 50}.*"
        )
        for number in range(1000)
    ]
    compiled = policy(*rules, team=tuple(names[:20]))
    looked_at = []
    original = access.CompiledRule.is_live
    monkeypatch.setattr(
        access.CompiledRule, "is_live", lambda self, now: looked_at.append(self) or original(self, now)
    )

    for number in range(1000):
        looked_at.clear()
        compiled.decide(source.choice(names), source.choice(names), f"kind7.n{number}", "send", NOW)
        assert len(looked_at) < 10


def test_many_globs_between_two_agents_are_not_tried_one_by_one(monkeypatch):
    """A type that begins otherwise than a pattern does never meets it."""
    compiled = policy(
        *[allow("a", "b", f"kind{number}.*") for number in range(1000)], allow("a", "b", "*.last")
    )
    tried = []
    original = access.CompiledRule.is_live
    monkeypatch.setattr(
        access.CompiledRule, "is_live", lambda self, now: tried.append(self) or original(self, now)
    )

    assert allowed(compiled, "a", "b", "kind500.x")
    assert allowed(compiled, "a", "b", "other.last")
    assert not allowed(compiled, "a", "b", "other")
    assert len(tried) < 20


def test_a_block_wins_over_everything_and_names_itself():
    """In both directions, also over trust, also where the rules are switched off; and it can end by itself."""
    document_ = msgspec.structs.replace(
        document(allow("*", "*")),
        blocked={"mallory": Mark("leaked", NOW + 5)},
        trusted={"mallory": Mark()},
    )
    for is_on in (True, False):
        rules = AccessPolicy(msgspec.structs.replace(document_, features=Features(rbac=is_on)))

        for question in (("mallory", "a"), ("a", "mallory")):
            found = rules.decide(*question, "x", "send", NOW)
            assert (found.allowed, found.rule_id) == (False, "block:mallory")
            assert "mallory is blocked (leaked)" in found.reason
            assert found.fix == ("mas agent unblock mallory",)
            assert not rules.may_see(*question, NOW)
            assert rules.decide(*question, "x", "send", NOW + 5).allowed


def test_trust_needs_no_rule_and_no_approval_but_bows_to_a_deny():
    """deny > trust > hold > allow; and it says nothing of who may send to the trusted agent."""
    document_ = msgspec.structs.replace(
        document(hold("*", "bank"), deny("*", "vault")), trusted={"boss": Mark(expires=NOW + 5)}
    )
    rules = AccessPolicy(document_)

    assert rules.decide("boss", "anybody", "x", "request", NOW).rule_id == "trust:boss"
    assert allowed(rules, "boss", "bank")
    assert not allowed(rules, "boss", "vault")
    assert not allowed(rules, "anybody", "boss")
    assert rules.decide("boss", "bank", "x", "send", NOW + 5).held
    assert rules.decide("other", "bank", "x", "send", NOW).held


def test_switched_off_rules_let_everybody_through():
    """And say so."""
    rules = AccessPolicy(
        msgspec.structs.replace(document(deny("a", "b"), hold("a", "c")), features=Features(rbac=False))
    )

    assert "switched off" in rules.decide("a", "b", "x", "send", NOW).reason
    assert allowed(rules, "a", "b")
    assert allowed(rules, "a", "c")
    assert rules.may_see("a", "b", NOW)
    assert not allowed(rules, "*", "b")
