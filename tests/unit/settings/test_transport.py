"""How agents reach the system: what specs, mas.yaml and certificates say."""

import socket

import pytest

from mas_core.errors import ConfigurationError
from mas_core.ops.server_mode import address_for
from mas_core.ops.up import UpOptions, as_before
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config
from mas_core.settings.server_choice import ServerChoice, keep_choice
from mas_core.settings.transport import agents_url, served, transport_of, url_of, wants_server


def loaded(folder, text="", **flags):
    """The configuration of a project with this mas.yaml."""
    (folder / "mas.yaml").write_text(
        f"name: shop\nagents:\n  - {{agent_id: plain, class_path: a:B}}\n"
        f"  - {{agent_id: shown, class_path: a:B, tls_cert_path: certs/shown.pem}}\n"
        f"  - {{agent_id: told, class_path: a:B, transport: server}}\n"
        f"  - {{agent_id: near, class_path: a:B, transport: direct,"
        f" tls_cert_path: certs/near.pem}}\n{text}"
    )
    return load_config(project_at(folder), flags, {})


@pytest.mark.parametrize(
    ("said", "through"),
    [
        ("", {"shown", "told"}),
        ("transport: server", {"plain", "shown", "told"}),
        ("transport: direct", {"told"}),
    ],
)
def test_a_spec_wins_over_the_project_and_that_over_a_certificate(tmp_path, said, through):
    """An agent with a certificate goes through the server unless something is said."""
    found = loaded(tmp_path, said)

    assert {spec.agent_id for spec in found.specs() if transport_of(spec, found) == "server"} == through


def test_an_agent_finds_the_server_and_its_files_where_mas_yaml_says(tmp_path):
    """Paths from the file; without a word the files of .mas/certs, and the server beside it."""
    found = loaded(tmp_path, "server_listen_addr: 0.0.0.0:7000\ntls_ca_path: ca.pem\n")
    plain, shown, told, near = found.specs()
    url, files = served(shown, found)

    assert (url, served(plain, found), served(near, found)) == ("grpcs://localhost:7000", None, None)
    assert files == (tmp_path / "certs/shown.pem", tmp_path / "certs/shown.pem", tmp_path / "ca.pem")
    assert served(told, found)[1].cert_path == tmp_path / ".mas/certs/agents/told.pem"
    other = loaded(tmp_path, "server_listen_addr: 0.0.0.0:7000\nagents_url: grpcs://mas.example.org:7000\n")
    assert agents_url(other) == "grpcs://mas.example.org:7000"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (":7443", "grpcs://localhost:7443"),
        ("127.0.0.1:1", "grpcs://localhost:1"),
        ("[::]:7443", "grpcs://localhost:7443"),
        ("10.1.2.3:7443", "grpcs://10.1.2.3:7443"),
        ("[fd00::1]:7443", "grpcs://[fd00::1]:7443"),
    ],
)
def test_an_address_to_listen_at_is_a_url_for_agents_of_the_same_machine(address, url):
    """All addresses and the machine's own are localhost, which every certificate of ours names."""
    assert url_of(address) == url


def test_a_server_is_wanted_where_somebody_goes_through_it(tmp_path):
    """Or where mas.yaml says that one listens, for agents of other machines."""
    assert wants_server(loaded(tmp_path), loaded(tmp_path).specs())
    direct = loaded(tmp_path, "transport: direct")
    assert not wants_server(direct, direct.specs()[:2])
    listening = loaded(tmp_path, "transport: direct\nserver_listen_addr: 127.0.0.1:7443")
    assert wants_server(listening, [])


@pytest.mark.parametrize(
    "wrong",
    ["server_listen_addr: 7443", "agents_url: redis://x:1", "agents_url: grpcs://a:b@x", "transport: tcp"],
)
def test_what_cannot_be_an_address_is_told_with_its_line(tmp_path, wrong):
    """Before anything starts."""
    with pytest.raises(ConfigurationError, match=r"mas\.yaml:7: "):
        loaded(tmp_path, wrong)


def test_a_project_that_ran_secure_does_so_again_at_the_same_address(tmp_path):
    """Until mas.yaml says something about the transport; an address that is taken gives way to another."""
    project = loaded(tmp_path).project
    assert not as_before(project, UpOptions()).secure

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    keep_choice(project, ServerChoice(secure=True, address=address))

    assert as_before(project, UpOptions()).secure
    assert address_for(loaded(tmp_path))[0] == address
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        assert address_for(loaded(tmp_path))[0] != address
    for said in ("direct", "server"):
        loaded(tmp_path, f"transport: {said}\n")
        assert not as_before(project, UpOptions()).secure
