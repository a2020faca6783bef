"""Compares the compiled access rules with a model that is written straight from their definition.

`python tests/support/access_model.py --cases 1000000` prints every difference and ends with 1 if there is
one. The model shares no code with the library: it looks at every rule of the document for every question.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from mas_core.model.policy import Features, Mark, PolicyDocument, Rule
from mas_core.security.access import AccessPolicy

AGENTS = ("a", "b", "c", "d", "agent-5", "x_6", "7up", "role", "admin")
STRANGERS = ("*", "role:one", "A", "", "a\n", "a" * 64, "\u0430dmin", "adm*", "-x")
ROLES = ("one", "two", "three")
PARTIES = (*AGENTS, "*", "*", "role:one", "role:two", "role:three", "role:none")
TYPES = ("x", "x.y", "x.z", "yx", "xx", "task.do", "task.done", "task", "a.b.c", "T", "task.do.now", "-", "_")
GLOBS = (
    *("*", "*", "x", "x.*", "?x", "*x", "x.?", "x*", "*.*", "task.*", "*.do*", "task.do", "ta?k.*"),
    *("*k*", "?", "??", "**", "*.*.*", "a.*.c", "*done", "task.d?", "t*k.d*e", "T", "*.", "?*"),
)
ACTIONS = ("send", "request")
NOW = 1_000_000
EXPIRIES = (0, 0, 0, NOW - 10, NOW, NOW + 1, NOW + 10)
MOMENTS = (NOW - 11, NOW - 10, NOW - 1, NOW, NOW + 1, NOW + 10)
QUESTIONS_PER_POLICY = 50


class Answer(NamedTuple):
    """What is compared."""

    allowed: bool
    held: bool
    rule: str


class Question(NamedTuple):
    """Who wants to send what to whom, and when."""

    sender: str
    target: str
    type: str
    action: str
    now: int


def is_agent(name: str) -> bool:
    """1 to 63 of a-z 0-9 _ -, with a letter or a digit first."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return (
        1 <= len(name) <= 63 and name[0] in letters and all(character in letters + "_-" for character in name)
    )


def stands_for(document: PolicyDocument, party: str, agent: str) -> bool:
    """Whether what a rule names is this agent."""
    if party == "*":
        return True
    if party.startswith("role:"):
        return agent in document.roles.get(party[len("role:") :], ())
    return party == agent


def fits(glob: str, text: str) -> bool:
    """Whether a whole text matches: `*` is any run of characters, `?` is one."""
    if not glob:
        return not text
    if glob[0] == "*":
        return any(fits(glob[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and glob[0] in ("?", text[0]) and fits(glob[1:], text[1:])


def counts(expires: int, now: int) -> bool:
    """Whether what ends at `expires` still counts."""
    return expires == 0 or now < expires


def plain_answer(document: PolicyDocument, question: Question) -> Answer:
    """The definition: block, deny, trust, hold, allow; of equals the first; else no."""
    sender, target, message_type, action, now = question
    if not (is_agent(sender) and is_agent(target)):
        return Answer(allowed=False, held=False, rule="")
    for blocked, mark in document.blocked.items():
        if blocked in (sender, target) and counts(mark.expires, now):
            return Answer(allowed=False, held=False, rule=f"block:{blocked}")
    if not document.features.rbac:
        return Answer(allowed=True, held=False, rule="")
    matching = [
        rule
        for rule in document.rules
        if stands_for(document, rule.sender, sender)
        and stands_for(document, rule.target, target)
        and fits(rule.type, message_type)
        and rule.action in ("*", action)
        and counts(rule.expires, now)
    ]
    for rule in matching:
        if rule.effect == "deny":
            return Answer(allowed=False, held=False, rule=rule.id)
    if sender in document.trusted and counts(document.trusted[sender].expires, now):
        return Answer(allowed=True, held=False, rule=f"trust:{sender}")
    for rule in matching:
        if rule.effect == "hold":
            return Answer(allowed=False, held=True, rule=rule.id)
    for rule in matching:
        if rule.effect == "allow":
            return Answer(allowed=True, held=False, rule=rule.id)
    return Answer(allowed=False, held=False, rule="")


def random_policy(source: random.Random) -> PolicyDocument:
    """Few rules as often as many, with every feature of the access rules."""
    size = source.choice((0, 1, 2, 4, 8, 16, 40))
    rules = tuple(
        Rule(
            f"r{number}",
            source.choice(("allow", "allow", "allow", "hold", "deny")),
            source.choice(PARTIES),
            source.choice(PARTIES),
            source.choice(GLOBS),
            source.choice((*ACTIONS, "*", "*")),
            source.choice(EXPIRIES),
        )
        for number in range(1, size + 1)
    )
    return PolicyDocument(
        rules=rules,
        roles={role: tuple(source.sample(AGENTS, source.randint(0, 5))) for role in ROLES},
        blocked=_marks(source),
        trusted=_marks(source),
        features=Features(rbac=source.random() < 0.95),
    )


def _marks(source: random.Random) -> dict[str, Mark]:
    if source.random() < 0.8:
        return {}
    return {name: Mark(expires=source.choice(EXPIRIES)) for name in source.sample(AGENTS, 2)}


def random_question(source: random.Random) -> Question:
    """Mostly agents, sometimes names that none can have."""
    names = AGENTS if source.random() < 0.97 else AGENTS + STRANGERS
    return Question(
        source.choice(names),
        source.choice(names),
        source.choice(TYPES),
        source.choice(ACTIONS),
        source.choice(MOMENTS),
    )


def differences(cases: int, seed: int) -> Iterator[tuple[PolicyDocument, Question, Answer, Answer]]:
    """Questions about which the compiled rules and the model disagree, with both answers."""
    source = random.Random(seed)
    asked = 0
    while asked < cases:
        document = random_policy(source)
        compiled = AccessPolicy(document)
        for _ in range(min(QUESTIONS_PER_POLICY, cases - asked)):
            question = random_question(source)
            found = compiled.decide(*question)  # type: ignore[arg-type]
            answer = Answer(found.allowed, found.held, found.rule_id)
            expected = plain_answer(document, question)
            # A block of either of two blocked agents is as good as that of the other.
            if answer != expected and not _are_both_blocks(answer, expected, document, question):
                yield document, question, answer, expected
            asked += 1


def _are_both_blocks(answer: Answer, expected: Answer, document: PolicyDocument, question: Question) -> bool:
    if not (answer.rule.startswith("block:") and expected.rule.startswith("block:")):
        return False
    name = answer.rule.removeprefix("block:")
    mark = document.blocked.get(name)
    return mark is not None and name in question[:2] and counts(mark.expires, question.now)


def main() -> int:
    """Compare, print, and tell by the exit code."""
    parser = argparse.ArgumentParser(description="Compare access rules with a brute-force model.")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20261121)
    options = parser.parse_args()
    started = time.monotonic()
    found = 0
    for document, question, answer, expected in differences(options.cases, options.seed):
        found += 1
        if found <= 20:
            sys.stdout.write(f"{question}\n  compiled {answer}\n  model    {expected}\n  {document}\n")
    seconds = time.monotonic() - started
    told = f"{options.cases:,} cases, seed {options.seed}: {found} differences ({seconds:.0f} s)"
    sys.stdout.write(told + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
