"""mas.yaml, the environment and flags give one configuration that knows where each value is from."""

import pytest

from mas_core.errors import ConfigurationError, SpecInvalid
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.project_config import load_config


def sources(loaded):
    return {setting.name: (setting.value, setting.source) for setting in loaded.settings()}


def test_each_layer_wins_over_the_one_below(project, tmp_path, monkeypatch):
    """Flag over environment over project file over user file over default."""
    (tmp_path / "config" / "mas").mkdir(parents=True)
    (tmp_path / "config" / "mas" / "config.yaml").write_text("profile: fast\nnamespace: user\n")
    project.config_path.write_text("name: shop\nnamespace: file\ngateway:\n  rate_limit: {per_hour: 5}\n")
    monkeypatch.setenv("MAS_PARTITIONS", "4")
    monkeypatch.setenv("GATEWAY_RATE_LIMIT__PER_HOUR", "6")
    monkeypatch.setenv("MAS_GATEWAY__RATE_LIMIT__PER_MINUTE", "7")

    found = sources(load_config(project, {"url": "redis://:pw@h/0", "profile": None}))

    assert found["url"] == ("redis://:****@h/0", "flag")
    assert found["partitions"] == (4, "env")
    assert found["gateway.rate_limit.per_hour"] == (6, "env")
    assert found["gateway.rate_limit.per_minute"] == (7, "env")
    assert found["namespace"] == ("file", "project")
    assert found["profile"] == ("fast", "user")
    assert found["gateway.features.dlp"] == (True, "default")


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("name: shop\nprofil: fast\n", 2, "did you mean profile?"),
        ("profile: slow\n", 1, ""),
        ("namespace: 'a:b'\n", 1, ""),
        ("gateway:\n  features:\n    dpl: true\n", 3, "did you mean dlp?"),
        ("gateway:\n  rate_limit:\n    per_minute: lots\n", 3, ""),
        ("agents:\n  - agent_id: a\n    exec: [x]\n    instances: -2\n", 4, ""),
        ("permissions:\n  - allow: a to b\n", 2, "write  sender -> target"),
        ("class_prefixes: ['../x']\n", 1, "write  package"),
    ],
)
def test_a_mistake_names_file_line_and_near_miss(project, text, line, hint):
    """The error speaks about mas.yaml, not about models."""
    project.config_path.write_text(text)

    with pytest.raises(SpecInvalid) as caught:
        load_config(project)

    assert (caught.value.path, caught.value.line) == (str(project.config_path), line)
    assert hint in "\n".join(caught.value.hint)


def test_a_wrong_variable_is_not_blamed_on_the_file(project, monkeypatch):
    """The error says that the environment holds it."""
    monkeypatch.setenv("MAS_PARTITIONS", "many")

    with pytest.raises(ConfigurationError, match=r"^environment: partitions"):
        load_config(project)


def test_specs_come_from_the_folder_and_from_the_file(project):
    """Inline agents count like files, and an id may stand only once."""
    (project.root / "agents.d" / "a.yaml").write_text("agent_id: a\nexec: [cat]\n")
    project.config_path.write_text("agents:\n  - {agent_id: b, exec: [cat]}\n")
    assert [spec.agent_id for spec in load_config(project).specs()] == ["a", "b"]

    project.config_path.write_text(
        "agents:\n  - {agent_id: b, exec: [cat]}\n  - {agent_id: a, exec: [cat]}\n"
    )
    with pytest.raises(SpecInvalid, match=r"mas\.yaml:3: the agent 'a' has a spec already"):
        load_config(project).specs()


def test_the_policy_is_gathered_from_all_files(project):
    """policy.yaml, mas.yaml and specs add up, each rule with its own source."""
    (project.root / "agents.d" / "a.yaml").write_text(
        "agent_id: a\nexec: [cat]\npermissions: [{from: operator}]\n"
    )
    (project.root / "policy.yaml").write_text("rules:\n  - allow: x -> y\ndlp: {card: block}\n")
    project.config_path.write_text(
        "permissions:\n  - deny: p -> q\ngateway: {dlp: {actions: {email: alert}}}\n"
    )

    policy = load_config(project).policy()

    assert [rule.source for rule in policy.rules] == [
        "file:mas.yaml",
        "file:policy.yaml",
        "file:agents.d/a.yaml",
    ]
    assert policy.dlp_actions == {"card": "block", "email": "alert"}


def test_paths_are_understood_from_the_file(project):
    """Certificates and rule packs are beside mas.yaml, wherever the command runs."""
    project.config_path.write_text("tls_ca_path: certs/ca.pem\ngateway: {dlp: {pack: rules.yaml}}\n")

    config = load_config(project).config

    assert config.tls_ca_path == project.root / "certs" / "ca.pem"
    assert config.gateway.dlp.pack == project.root / "rules.yaml"


def test_gateway_settings_survive_their_own_file(tmp_path, monkeypatch):
    """to_yaml and from_yaml are inverse; the environment wins over the file and code over both."""
    settings = GatewaySettings(redis={"url": "redis://u:pw@h/1"}, rate_limit={"per_minute": 3})
    settings.to_yaml(tmp_path / "gateway.yaml")

    assert GatewaySettings.from_yaml(tmp_path / "gateway.yaml") == settings
    assert "pw" not in settings.summary()
    assert "rate_limit.per_minute = 3" in settings.summary()
    monkeypatch.setenv("GATEWAY_RATE_LIMIT__PER_MINUTE", "9")
    assert GatewaySettings.from_yaml(tmp_path / "gateway.yaml").rate_limit.per_minute == 9
    assert GatewaySettings().rate_limit.per_minute == 9
    assert GatewaySettings(rate_limit={"per_minute": 3}).rate_limit.per_minute == 3
