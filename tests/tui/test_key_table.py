"""Keys and their names."""

import pytest

from mas_cli.tui.key_table import KEYS, bindings, keymap, shown_key
from mas_core.errors import ConfigurationError


def test_every_key_means_one_thing():
    """No two actions share a key, and names are unique."""
    keys = [one for key in KEYS for one in key.keys.split(",")]

    assert len(keys) == len(set(keys))
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_keys_can_be_given_to_others():
    """The name counts, and hints show the new key."""
    assert keymap({"live.pause": "f9"}) == {"live.pause": "f9"}
    assert shown_key("live.pause", {"live.pause": "f9"}) == "f9"
    assert shown_key("filter.open", {}) == "/"
    assert {binding.id for binding in bindings()} == {key.id for key in KEYS}


@pytest.mark.parametrize(
    "chosen", [{"no.such": "x"}, {"live.pause": "q"}, {"live.pause": "f9", "view.wide": "f9"}]
)
def test_a_key_with_two_meanings_or_none_is_refused(chosen):
    """At the start, with the place."""
    with pytest.raises(ConfigurationError, match=r"tui\.keys"):
        keymap(chosen)
