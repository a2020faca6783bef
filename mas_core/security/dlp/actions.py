"""Which action a rule has: by its route, by the policy, by the pack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from mas_core.errors import ConfigurationError
from mas_core.security.dlp.rules import CATEGORIES, ENCRYPT, Rule, is_action

EVERY: Final = "*"
"""Stands for every rule."""


class Actions:
    """Tells the action of a rule; what is more specific wins, of a rule over its category over all."""

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self._overrides = overrides

    def of(self, rule: Rule, route: tuple[Mapping[str, str], ...]) -> str:
        """What is done about what `rule` finds on a route, given what the route says, most specific first."""
        for layer in (*route, self._overrides):
            for name in (rule.id, rule.category, EVERY):
                if name in layer:
                    return layer[name]
        return rule.action


def check_actions(actions: Mapping[str, str], rules: Sequence[Rule], key_names: Collection[str]) -> None:
    """See that actions can be carried out.

    Raises:
        ConfigurationError: An action is not known, is for a rule or category that does not exist, or names
            a key that is not there.
    """
    known = CATEGORIES | {EVERY} | {rule.id for rule in rules}
    for name, action in actions.items():
        if name not in known:
            raise ConfigurationError(
                f"{name!r} is neither a rule nor a category of the scan", hint="mas dlp rules", rule=name
            )
        if not is_action(action):
            raise ConfigurationError(
                f"{action!r} is not an action for {name}",
                hint="one of block, redact, alert, off, encrypt:NAME",
                rule=name,
            )
        if action.startswith(ENCRYPT) and action.removeprefix(ENCRYPT) not in key_names:
            raise ConfigurationError(
                f"{name} is to be encrypted to a key {action.removeprefix(ENCRYPT)!r} that the policy has not",
                hint="dlp_keys: {NAME: PUBLIC-KEY} in policy.yaml; `mas dlp key` makes one",
                rule=name,
            )
