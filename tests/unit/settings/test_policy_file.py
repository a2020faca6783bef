"""policy.yaml becomes rules, roles, limits and actions."""

import pytest

from mas_core.errors import SpecInvalid
from mas_core.model.policy import BreakerLimits, RateLimit
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.policy_file import load_policy_file


def read(tmp_path, text):
    (tmp_path / "policy.yaml").write_text(text)
    return load_policy_file(tmp_path / "policy.yaml")


def pairs(policy):
    return [(rule.effect, rule.sender, rule.target, rule.type, rule.action) for rule in policy.rules]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("allow: a -> b", [("allow", "a", "b", "*", "*")]),
        ("allow: a -> [b, c]", [("allow", "a", "b", "*", "*"), ("allow", "a", "c", "*", "*")]),
        ("deny: '* -> vault'", [("deny", "*", "vault", "*", "*")]),
        ("allow: role:admins -> b", [("allow", "role:admins", "b", "*", "*")]),
        ("allow: a <-> b", [("allow", "a", "b", "*", "*"), ("allow", "b", "a", "*", "*")]),
        ("allow: {from: a, to: '*', types: ['math.*']}", [("allow", "a", "*", "math.*", "*")]),
        ("{allow: a -> b, types: [x, y], action: send}", [("allow", "a", "b", t, "send") for t in "xy"]),
    ],
)
def test_each_way_to_write_a_rule(tmp_path, entry, expected):
    """The short and the long grammar give the same rules."""
    assert pairs(read(tmp_path, f"rules:\n  - {entry}\n")) == expected


def test_rules_name_their_file_and_end_when_they_say(tmp_path):
    """The source lets a reload replace only what came from this file."""
    (rule,) = read(tmp_path, "rules:\n  - allow: a -> b\n    expires: 2030-01-01T00:00:00Z\n").rules

    assert rule.source == "file:policy.yaml"
    assert rule.expires == 1893456000000
    assert rule.id.startswith("file-")


def test_limits_roles_and_actions(tmp_path):
    """`off` is a word, not a boolean; `default` is the limit of all others."""
    policy = read(
        tmp_path,
        "roles: {admins: [operator]}\nlimits:\n  default: {per_minute: 5}\n  role:admins: {per_hour: 9}\n"
        "dlp: {card: block, email: off}\n",
    )

    assert policy.roles == {"admins": ("operator",)}
    assert policy.default_limit == RateLimit(per_minute=5)
    assert policy.limits == {"role:admins": RateLimit(per_hour=9)}
    assert policy.dlp_actions == {"card": "block", "email": "off"}


def test_breakers_backups_and_approval(tmp_path):
    """`default` is for all other targets; durations are as people write them."""
    policy = read(
        tmp_path,
        "breaker:\n  default: {failure_threshold: 3, timeout_s: 10}\n  ledger: {failure_rate: 0.2}\n"
        "backups: {ledger: ledger-2}\napproval: {expires: 1h30m}\n",
    )

    assert policy.default_breaker == BreakerLimits(failures=3, timeout_ms=10_000)
    assert policy.breakers == {"ledger": BreakerLimits(rate=0.2)}
    assert policy.backups == {"ledger": "ledger-2"}
    assert policy.approval_expires_ms == 5_400_000


def test_settings_are_the_defaults_of_breakers(monkeypatch):
    """Also from the environment."""
    monkeypatch.setenv("GATEWAY_CIRCUIT_BREAKER__FAILURE_THRESHOLD", "7")
    monkeypatch.setenv("GATEWAY_FEATURES__CIRCUIT_BREAKER", "true")
    settings = GatewaySettings()

    assert settings.circuit_breaker.as_breaker_limits() == BreakerLimits(failures=7)
    assert settings.policy_features.circuit_breaker


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rules:\n  - allow: a => b\n", 2),
        ("rules:\n  - allow: a -> b\n  - alow: a -> b\n", 3),
        ("rules:\n  - allow: a -> b\n    deny: a -> b\n", 2),
        ("rules:\n  - allow: admin* -> b\n", 2),
        ("rules:\n  - allow: a -> b\n    types: ['x y']\n", 3),
        ("rules:\n  - allow: a -> b\n    expires: 2030-01-01\n", 3),
        ("dlp:\n  card: blok\n", 2),
        ("limits:\n  default: {per_minute: -1}\n", 2),
    ],
)
def test_a_wrong_policy_names_its_line(tmp_path, text, line):
    """A policy with a mistake is refused as a whole."""
    with pytest.raises(SpecInvalid) as caught:
        read(tmp_path, text)

    assert caught.value.line == line
