"""What is said about servers of agents: in health, in metrics, by the doctor."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from support.health_samples import EXPECTED, NOW, WELL
from support.serving import Certificates

from mas_core.model.agent_server_status import AgentServerStatus, live_agent_servers
from mas_core.ops.checks.look import Look, look_at_certificates
from mas_core.ops.checks.table import carry_out, chosen
from mas_core.ops.health.findings import judge
from mas_core.ops.health.metrics import metrics_text
from mas_core.settings.project import project_at
from mas_core.store.server_setup import ServerSetup, ServerUser

HOUR = 3_600_000
SERVER = AgentServerStatus(
    "srv-1", NOW, NOW - HOUR, "host", 7, "127.0.0.1:7443", 2, 3, 4, NOW - HOUR, NOW + 23 * HOUR
)
WANTED = replace(EXPECTED, wants_server=True)


def found(server=None, expected=WANTED):
    """Status and reason of what health says about a server, or about none."""
    seen = replace(WELL, agent_servers=(server,) if server else ())
    return {
        (item.status, item.reason)
        for item in judge(seen, expected).items
        if item.name.split()[0] in {"server", "servers"}
    }


def test_health_tells_how_a_server_of_agents_is():
    """One that serves is well; a certificate that nobody renewed, has ended or cannot be read is not."""
    late = msgspec.structs.replace(
        SERVER, certificate_starts=NOW - 20 * HOUR, certificate_ends=NOW + 4 * HOUR
    )
    ended = msgspec.structs.replace(late, certificate_ends=NOW)
    broken = msgspec.structs.replace(SERVER, certificate_problem="the key is not that of the certificate")

    assert found(SERVER) == {("ok", "2 agents through 127.0.0.1:7443")}
    assert found(late) == {("warn", "its certificate ends in 4 h")}
    assert found(ended) == {("red", "its certificate has ended: no agent connects any more")}
    assert found(broken) == {("red", "the key is not that of the certificate")}


def test_a_server_is_missed_only_where_agents_need_one():
    """A project in direct mode has nothing to say about it."""
    assert found() == {("red", "none is running: agents behind it reach nobody")}
    assert found(expected=EXPECTED) == set()


def test_monitoring_gets_its_agents_and_the_end_of_its_certificate():
    """As gauges and a counter with the server's name."""
    seen = replace(WELL, agent_servers=(SERVER,))
    text = metrics_text(judge(seen, WANTED), seen).decode()

    assert 'mas_agent_server_agents{server="srv-1"} 2.0' in text
    assert 'mas_agent_server_refused_total{server="srv-1"} 4.0' in text
    (end,) = re.findall(r"mas_agent_server_certificate_end_timestamp_seconds\{.*\} (.+)", text)
    assert float(end) == (NOW + 23 * HOUR) / 1000


def test_heartbeats_that_are_old_or_not_ours_are_no_servers():
    """Whoever writes rubbish there hides nothing and adds nothing."""
    old = msgspec.structs.replace(SERVER, server_id="old", seen=NOW - 5_000)
    fields = {
        "srv-1": msgspec.json.encode(SERVER),
        "old": msgspec.json.encode(old),
        "rubbish": b"\xff{",
        "other": b'{"server_id": 1}',
    }

    assert live_agent_servers(fields, NOW) == [SERVER]


def test_a_way_past_the_server_is_found():
    """Agents of other machines, and a Redis server that asks nobody for a password."""
    remote = msgspec.structs.replace(SERVER, address="0.0.0.0:7443")
    (check,) = chosen(["agent-server"])

    def status(server, *, needs_password):
        user = ServerUser("default", needs_password, can_write=True, is_agent=False)
        seen = replace(WELL, agent_servers=(server,))
        setup = ServerSetup(0.001, 0.0, "default", (user,), (), 0, 0)
        (result,) = carry_out([check], Look(setup=setup, seen=seen, health=judge(seen, WANTED)))
        return result.status

    assert status(remote, needs_password=False) == "red"
    assert status(remote, needs_password=True) == "ok"
    assert status(SERVER, needs_password=False) == "ok"


def test_the_doctor_looks_at_certificates_outside_of_the_project_folder(tmp_path):
    """One that ended and a key that others can read; the latter it closes."""
    (tmp_path / "mas.yaml").write_text(
        "agents:\n  - {agent_id: a, class_path: a:A, tls_cert_path: certs/agent-a.pem}\n"
        "  - {agent_id: b, class_path: a:A, tls_cert_path: certs/agent-b.pem}\n"
    )
    certificates = Certificates.make(tmp_path / "certs")
    certificates.issue("agent", "a")
    past = datetime.now(UTC) - timedelta(minutes=2)
    ended = certificates.issue("agent", "b", now=past, lifetime=timedelta(minutes=1))
    project, (check,) = project_at(tmp_path), chosen(["cert"])

    def result():
        (found,) = carry_out([check], Look(project, certificates=look_at_certificates(project)))
        return found

    first = result()
    (tmp_path / "certs" / "agent-a.pem").chmod(0o644)
    ended.cert_path.unlink()
    (finding,) = result().findings

    assert first.status == "red"
    assert [item.message.split(" at ")[0] for item in first.findings] == [
        "the certificate of the agent b expired"
    ]
    assert finding.status == "red"
    assert finding.repair is not None
    finding.repair()
    assert result().status == "ok"
