"""What the runner tells an agent that goes through a server of agents."""

import msgspec
import pytest

from mas_cli import app
from mas_core.ops import agent_servers
from mas_core.ops.agent_runs import supervisor_of
from mas_core.runner.class_loading import ClassLoader
from mas_core.runner.exec_agent import ExecAgent
from mas_core.runner.instance_process import make_agent
from mas_core.runner.launch import Launch
from mas_core.settings.private_files import write_private
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target

CONFIG = """\
name: shop
agents_url: grpcs://mas.example.org:7443
agents:
  - {agent_id: behind, class_path: behind:Behind, transport: server}
  - {agent_id: counter, exec: [wc, -w], mode: per_message, tls_cert_path: counter.pem}
  - {agent_id: beside, class_path: behind:Behind}
"""
CLASS = "from mas_core import Agent\n\n\nclass Behind(Agent):\n    pass\n"
URL = "redis://gateway:very-secret-password@redis.internal:6379"


@pytest.fixture
def launches(tmp_path):
    """The launch record of each agent of a project whose Redis server has a password, and its variables."""
    (tmp_path / "mas.yaml").write_text(CONFIG)
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agents.d" / "behind.py").write_text(CLASS)
    project = project_at(tmp_path)
    loaded = load_config(project, environ={})
    specs = loaded.specs()
    for spec in specs:
        write_private(project.tokens_dir / f"{spec.agent_id}.token", b"token")
    target = Target(URL, project=project, keys_dir=project.keys_dir, tokens_dir=project.tokens_dir)
    supervisor = supervisor_of(target, loaded, specs, lambda _event: None)
    return {
        spec.agent_id: (
            msgspec.json.encode(supervisor._launch(spec, 1, 0)),
            str(dict(supervisor._environ(spec))),
        )
        for spec in specs
    }


def test_s2_an_agent_behind_a_server_is_told_nothing_of_redis(launches):
    """Neither the record that its process reads nor its environment has the address or the password."""
    for agent_id in ("behind", "counter"):
        for text in map(str, launches[agent_id]):
            assert "redis:" not in text
            assert "redis.internal" not in text
            assert "very-secret-password" not in text
    assert URL.encode() in launches["beside"][0]


def test_an_agent_behind_a_server_has_its_certificate_whatever_it_runs(launches, tmp_path):
    """A class and a program alike connect to the URL of the server with the files of the spec."""
    loader = ClassLoader([tmp_path / "agents.d"])
    made = {
        agent_id: make_agent(msgspec.json.decode(launches[agent_id][0], type=Launch), loader)
        for agent_id in ("behind", "counter", "beside")
    }

    assert isinstance(made["counter"], ExecAgent)
    assert {agent._url for agent in (made["behind"], made["counter"])} == {"grpcs://mas.example.org:7443"}
    assert made["behind"]._tls.cert_path == tmp_path / ".mas/certs/agents/behind.pem"
    assert made["counter"]._tls.key_path == tmp_path / "counter.pem"
    assert made["counter"]._tls.ca_path == tmp_path / ".mas/certs/authorities.pem"
    assert made["beside"]._tls is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'grpc'"), "gRPC, which is not installed"),
        (ImportError("cygrpc.so: cannot open"), "gRPC, which cannot be loaded: cygrpc.so: cannot open"),
    ],
)
def test_without_grpc_mas_up_says_what_to_install_and_starts_nothing(
    tmp_path, monkeypatch, capsys, error, said
):
    """The core is installed without it; exit code 2 at once, for a server alone as well."""

    def refuse(_name):
        raise error

    monkeypatch.setattr(agent_servers, "import_module", refuse)
    (tmp_path / "mas.yaml").write_text("agents: [{agent_id: a, exec: [cat]}]\n")
    monkeypatch.chdir(tmp_path)

    for command in (("up", "--secure"), ("server", "run"), ("server", "run", "--check")):
        if command[0] == "server":
            monkeypatch.setenv("MAS_URL", "redis://127.0.0.1:1")
        assert app.main([*command]) == 2
        words = capsys.readouterr().err
        assert said in words
        assert "python -m pip install 'mas[grpc]'" in words
    assert not (tmp_path / ".mas" / "server").exists()
