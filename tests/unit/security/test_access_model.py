"""The compiled access rules against a model written straight from their definition."""

from __future__ import annotations

import pytest
from support import access_model

from mas_core.security.access import AccessPolicy


def test_a_slice_of_the_differential_run_finds_nothing():
    """50,000 random pairs of policy and question; `make differential` asks 1,000,000."""
    found = next(access_model.differences(50_000, seed=7), None)

    assert found is None


@pytest.mark.parametrize("part", ["is_live", "has_action", "effect"])
def test_the_comparison_notices_a_broken_evaluator(part, monkeypatch):
    """An evaluator that forgets the end of rules, their actions, or that deny wins, does not get through."""
    from mas_core.security import access

    if part == "effect":
        monkeypatch.setitem(access._STRENGTHS, "deny", access.Strength.ALLOW - 1)
    elif part == "is_live":
        monkeypatch.setattr(access.CompiledRule, "is_live", lambda self, now: True)
    else:
        original = AccessPolicy._indexes
        monkeypatch.setattr(
            AccessPolicy,
            "_indexes",
            lambda self, sender, target, action: original(self, sender, target, "send"),
        )

    assert next(access_model.differences(20_000, seed=7), None) is not None
