"""Settings that refer to secrets: resolved where they are used, shown as references, never where others write."""

from __future__ import annotations

import pytest

from mas_core.errors import ConfigurationError, SecretUnavailable, SpecInvalid
from mas_core.ops import archive
from mas_core.ops.events import store_place
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.contexts import Context, ContextStore
from mas_core.settings.private_files import write_private, write_token
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config
from mas_core.settings.secret_variables import SecretVariables
from mas_core.settings.target import resolve_target

PASSWORD = "pa:ss/w@rd"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "mas.yaml").write_text(
        "url: redis://app:${file:redis.password}@redis.example/0\nevents:\n  url: env:OUR_EVENTS\n"
    )
    (tmp_path / "mas.yaml").chmod(0o644)
    write_private(tmp_path / "redis.password", PASSWORD.encode() + b"\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUR_EVENTS", "postgresql://events:hunter2@sql/events")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return project_at(tmp_path)


def test_a_project_is_reached_with_its_secrets(project, tmp_path):
    """The URL that commands use holds the password; what is shown and written down does not."""
    target = resolve_target(config=tmp_path)
    settings = {item.name: item.value for item in load_config(project).settings(unmasked=True)}

    assert target.url == "redis://app:pa%3Ass%2Fw%40rd@redis.example/0"
    assert store_place(project) == "postgresql://events:hunter2@sql/events"
    assert "pa%3A" not in target.shown_url + repr(target)
    assert settings["url"] == "redis://app:${file:redis.password}@redis.example/0"
    assert settings["events.url"] == "env:OUR_EVENTS"


def test_settings_can_be_looked_at_without_the_secrets(project, tmp_path, monkeypatch):
    """Nothing is fetched before it is used; then it is said what is missing."""
    monkeypatch.delenv("OUR_EVENTS")
    (tmp_path / "redis.password").unlink()
    loaded = load_config(project)

    assert loaded.config.profile == "durable"
    with pytest.raises(SecretUnavailable, match=r"file:redis\.password"):
        loaded.server_url()
    with pytest.raises(SecretUnavailable, match="env:OUR_EVENTS"):
        store_place(project)


def test_s42_references_in_a_file_that_others_can_write_are_not_followed(project, tmp_path):
    """Else they could make every command in the folder send private files away."""
    project.config_path.chmod(0o666)

    with pytest.raises(ConfigurationError, match="others can change") as caught:
        resolve_target(config=tmp_path)

    assert caught.value.hint == (f"chmod go-w {project.config_path}",)


def test_the_environment_and_flags_may_refer_too(project, tmp_path, monkeypatch):
    """Relative to the project where there is one."""
    monkeypatch.setenv("OUR_URL", "redis://:other@host")

    assert resolve_target(url="env:OUR_URL").url == "redis://:other@host"
    monkeypatch.setenv("MAS_URL", "redis://:${file:redis.password}@elsewhere")
    monkeypatch.chdir(project.logs_dir)
    assert resolve_target().url == "redis://:pa%3Ass%2Fw%40rd@elsewhere"


def test_a_context_may_refer(tmp_path, monkeypatch):
    """Relative to the folder of the user; the file keeps the reference."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = ContextStore()
    path = store.add(Context(name="prod", url="rediss://app:${file:prod.password}@redis.example"))
    write_private(store.folder / "prod.password", b"hunter2\n")

    assert resolve_target(context="prod").url == "rediss://app:hunter2@redis.example"
    assert "hunter2" not in path.read_text()


def test_the_gateways_key_may_be_elsewhere(tmp_path, monkeypatch):
    """Its file holds a reference; the keys are those of the secret, wherever they are asked for."""
    keys = GatewayKeys.load_or_create(tmp_path)
    secret = (tmp_path / "gateway.key").read_text()
    monkeypatch.setenv("OUR_GATEWAY_KEY", secret)
    write_private(tmp_path / "gateway.key", b"env:OUR_GATEWAY_KEY\n")

    assert GatewayKeys.load(tmp_path).key_id == keys.key_id
    assert GatewayKeys.load_or_create(tmp_path).key_id == keys.key_id
    assert (tmp_path / "gateway.key").read_text() == "env:OUR_GATEWAY_KEY\n"
    monkeypatch.setenv("OUR_GATEWAY_KEY", "hunter2")
    with pytest.raises(ConfigurationError, match="does not hold a gateway key") as caught:
        GatewayKeys.load(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_agents_do_not_inherit_the_secrets_of_others(project, monkeypatch):
    """Variables of settings, of keys and of other agents' tokens are withheld; the own token's is not."""
    write_private(project.keys_dir / "gateway.key", b"env:OUR_GATEWAY_KEY\n")
    write_token(project.tokens_dir, "billing", "env:BILLING_TOKEN")
    write_token(project.tokens_dir, "shop", "env:SHOP_TOKEN")
    project.config_path.write_text(
        "url: rediss://app:${env:OUR_PASSWORD}@redis.example\nevents: {url: 'env:OUR_EVENTS'}\n"
    )

    for agent_id, variable in (("billing", "LEDGER_KEY"), ("shop", "SHOP_KEY")):
        spec = project.root / "agents.d" / f"{agent_id}.yaml"
        spec.parent.mkdir(exist_ok=True)
        spec.write_text(f"agent_id: {agent_id}\nexec: [cat]\nsecrets: {{KEY: 'env:{variable}'}}\n")
    specs = load_config(project).specs()

    nowhere = SecretVariables(load_config(project), project.root / "nowhere")
    assert "OUR_GATEWAY_KEY" in nowhere.withheld_from("billing", specs)
    withheld = SecretVariables(load_config(project), project.tokens_dir).withheld_from("billing", specs)

    assert withheld == {"OUR_PASSWORD", "OUR_EVENTS", "OUR_GATEWAY_KEY", "SHOP_TOKEN", "SHOP_KEY"}


def test_an_archive_gets_its_secrets_beside_its_url(project, monkeypatch):
    """From references, and at no other URL than its own; the secret itself is refused in mas.yaml."""
    asked = []
    monkeypatch.setattr(archive, "open_target", lambda url, system, options: asked.append((url, options)))
    monkeypatch.setenv("ARCHIVE_SECRET", "hunter2")
    write_private(project.root / "archive.key", b"AKIA0815\n")
    text = "gateway: {audit: {archive: {url: 's3://cold/mas', options: {%s, region: eu}}}}\n"
    project.config_path.write_text(text % "key: file:archive.key, secret: 'env:ARCHIVE_SECRET'")

    archive._opened("s3://cold/mas", project, "mas")
    archive._opened("s3://of.others/mas", project, "mas")

    options = {"key": "AKIA0815", "secret": "hunter2", "region": "eu"}
    assert asked == [("s3://cold/mas", options), ("s3://of.others/mas", {})]
    project.config_path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="others can change"):
        archive._opened("s3://cold/mas", project, "mas")
    for name in ("secret", "key", "account_key", "token"):
        project.config_path.write_text(text % f"{name}: hunter2")
        with pytest.raises(SpecInvalid, match="does not stand here itself") as caught:
            load_config(project)
        assert "hunter2" not in str(caught.value)
