"""How long audit records are kept, by frameworks."""

from __future__ import annotations

import pytest

from mas_core.errors import NotFound, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.retention import FRAMEWORKS, RetentionRule, in_force, usual_rule
from mas_core.security.policy_versions import differences, rolled_back
from mas_core.security.retention_changes import set_retention


def test_nothing_is_in_force_until_a_framework_is_adopted():
    """So nothing is ever trimmed by default."""
    assert in_force(PolicyDocument().retention) is None


def test_of_several_frameworks_the_longest_time_counts():
    """And what is older is deleted only when each says so."""
    rules = {"pci": RetentionRule(90, 1, delete=True), "hipaa": RetentionRule(30, 6)}

    assert in_force(rules) == RetentionRule(90, 6, delete=False)
    assert in_force({**rules, "hipaa": RetentionRule(30, 6, delete=True)}) == RetentionRule(
        90, 6, delete=True
    )


def test_u5_presets_keep_records_six_and_seven_years():
    """90 days in the store, and six or seven years in the archive (U5)."""
    assert FRAMEWORKS["hipaa"].rule == RetentionRule(90, 6)
    assert FRAMEWORKS["soc2"].rule == RetentionRule(90, 7)
    assert not any(found.rule.delete for found in FRAMEWORKS.values())
    assert usual_rule("house-rules") == RetentionRule(90, 7)


def test_a_framework_is_adopted_and_taken_back():
    """The history says what was done; the same again changes nothing."""
    adopted = set_retention(PolicyDocument(), "hipaa", RetentionRule(90, 6))

    assert (
        adopted.change == "retention of hipaa: 90 days in the store, 6 years in the archive, then still kept"
    )
    assert set_retention(adopted, "hipaa", RetentionRule(90, 6)) is adopted
    assert set_retention(adopted, "hipaa", None).retention == {}
    assert [(item.what, item.name) for item in differences(PolicyDocument(), adopted)] == [
        ("retention", "hipaa")
    ]


def test_a_rollback_leaves_retention_alone():
    """Last week's rules must not shorten how long evidence is kept."""
    adopted = set_retention(PolicyDocument(), "hipaa", RetentionRule(90, 6))

    assert rolled_back(adopted, PolicyDocument()).retention == adopted.retention


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../x", RetentionRule()),
        ("", RetentionRule()),
        ("hipaa", RetentionRule(-1, 6)),
        ("hipaa", RetentionRule(90, 101)),
        ("hipaa", RetentionRule(400, 1, delete=True)),
    ],
)
def test_retention_that_makes_no_sense_is_refused(name, rule):
    """Names that are none, impossible numbers, and deleting what is still in the store."""
    with pytest.raises(UsageError):
        set_retention(PolicyDocument(), name, rule)


def test_what_is_not_in_force_cannot_be_taken_back():
    """It would look as if something had been changed."""
    with pytest.raises(NotFound):
        set_retention(PolicyDocument(), "hipaa", None)
