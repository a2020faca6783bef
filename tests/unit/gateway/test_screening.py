"""Which stages a gateway says that messages pass."""

import pytest

from mas_core.gateway.screening import Screening, on_for_all


class Named:
    """A stage with this name."""

    def __init__(self, name):
        self.name = name


def test_stages_that_no_policy_leaves_out_are_not_told():
    """They say nothing about what the policy wants."""
    screening = Screening([Named(name) for name in ("signature", "form", "access", "topic", "inbox")])
    assert screening.stages_on == ("signature", "access")


@pytest.mark.parametrize(
    ("lists", "found"),
    [
        ([], ()),
        ([("signature", "access")], ("signature", "access")),
        ([("signature", "access", "dlp"), ("signature", "dlp")], ("signature", "dlp")),
        ([("signature",), ()], ()),
    ],
)
def test_a_check_counts_as_on_only_where_all_partitions_have_it(lists, found):
    """While a change of the policy spreads, what is off somewhere is not told as on."""
    assert on_for_all(lists) == found
