"""`mas cert`: an authority, what it issues, what is revoked, and certificates from elsewhere."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from support.certificates import certificate_with, uri

from mas_core.errors import CertificateRefused
from mas_core.security.certificate_files import read_authorities, read_pair
from mas_core.security.certificates import Authority, Holder, key_pem, new_key, pem_of
from mas_core.security.spiffe import agent_of, check_in_force, serial_of
from mas_core.settings.private_files import write_private


@pytest.fixture
def project(mas, running_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The running project, with an authority and the agent writer."""
    monkeypatch.chdir(running_project)
    mas("cert", "ca")
    mas("agent", "register", "writer")
    return running_project


def test_without_an_authority_one_is_told_what_to_type(mas, running_project, monkeypatch):
    """Nothing is issued, and the first authority is made once only."""
    monkeypatch.chdir(running_project)
    assert mas("cert", "list", "-o", "json").json == []
    ran = mas("cert", "issue", "calculator", "-o", "json")
    assert (ran.code, ran.error["code"]) == (2, "secret_unavailable")
    assert ran.error["hint"] == ["mas cert ca"]

    assert mas("cert", "ca", "--dry-run").code == 0
    assert not (running_project / ".mas/certs/ca").exists()
    (made,) = mas("cert", "ca", "-o", "json").json
    assert (made["kind"], made["name"], made["status"]) == ("authority", "mas", "valid")
    assert mas("cert", "ca").code == 7
    assert stat.S_IMODE((running_project / ".mas/certs/ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((running_project / ".mas/certs/ca/authority.pem").stat().st_mode) == 0o600


def test_an_agent_gets_a_certificate_that_says_who_it_is(mas, project):
    """In a private file where it is looked for; only registered agents, and no key is overwritten."""
    dry = mas("cert", "issue", "writer", "--dry-run", "-o", "json").json
    assert not Path(dry["path"]).exists()
    ran = mas("cert", "issue", "writer", "-o", "json")
    issued = ran.json
    path = Path(issued["path"])
    pair = read_pair(path)

    assert path == project / ".mas/certs/agents/writer.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert agent_of(pair.certificate, trust_domain="mas") == "writer"
    assert (issued["kind"], issued["name"], issued["serial"]) == (
        "agent",
        "writer",
        serial_of(pair.certificate),
    )
    assert issued["names"] == ["URI:spiffe://mas/agent/writer"]
    assert pair.key.decode().splitlines()[1] not in ran.out + ran.err
    again = mas("cert", "issue", "writer", "-o", "json")
    assert (again.code, again.error["hint"][0]) == (7, "mas cert rotate writer")
    nobody = mas("cert", "issue", "nobody", "-o", "json")
    assert (nobody.code, nobody.error["code"]) == (6, "agent_not_found")
    assert mas("cert", "issue", "writer", "--expires", "9999d", "--out", "x.pem").code == 2
    assert mas("cert", "issue", "writer", "--for", "king").code == 2
    assert mas("cert", "issue", "writer", "--also", "x").code == 2


def test_a_signing_request_is_enough_so_that_the_key_stays_where_it_was_made(mas, project, tmp_path):
    """Whatever name stands in it; no key is overwritten."""
    request, key, out = (tmp_path / name for name in ("w.csr", "w.key", "w.pem"))
    write_private(key, key_pem(private := new_key()))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, SHA256())
    request.write_bytes(signed.public_bytes(Encoding.PEM))

    issued = mas("cert", "issue", "writer", "--csr", str(request), "--out", str(out), "-o", "json")

    assert (issued.code, issued.json["key_path"]) == (0, None)
    assert agent_of(read_pair(out, key).certificate, trust_domain="mas") == "writer"
    assert b"PRIVATE" not in out.read_bytes()
    assert mas("cert", "issue", "writer", "--csr", str(request)).code == 2
    assert mas("cert", "issue", "writer", "--csr", str(request), "--out", str(key)).code == 7
    assert mas("cert", "issue", "writer", "--csr", str(out), "--out", str(out)).code == 2


def test_servers_and_operators_get_certificates_of_their_own_kind(mas, project, tmp_path):
    """A server its names and addresses; in two files where asked for."""
    certificate, key = tmp_path / "s" / "c.pem", tmp_path / "s" / "k.pem"
    server = mas(
        "cert", "issue", "localhost", "--for", "server", "--also", "127.0.0.1", "--also", "::1",
        "--out", str(certificate), "--key-out", str(key), "-o", "json",
    ).json  # fmt: skip
    operator = mas("cert", "issue", "jane", "--for", "operator", "-o", "json").json

    assert server["names"] == ["DNS:localhost", "IP:127.0.0.1", "IP:::1"]
    assert server["uses"] == ["server"]
    assert read_pair(certificate, key).certificate.serial_number == int(server["serial"], 16)
    assert operator["names"] == ["URI:spiffe://mas/operator/jane"]
    assert operator["path"].endswith(".mas/certs/operators/jane.pem")
    assert mas("cert", "issue", "localhost", "--for", "server", "--out", str(certificate)).code == 7


def test_s37_revoked_certificates_are_in_the_policy_when_the_command_returns(mas, project):
    """With who and why; the old one of a rotation counts on unless it is revoked with it."""
    mas("agent", "register", "stolen")
    first = mas("cert", "issue", "stolen", "-o", "json").json
    path = Path(first["path"])
    second = mas("cert", "rotate", "stolen", "-o", "json").json
    assert second["serial"] == serial_of(read_pair(path).certificate) != first["serial"]
    assert second["revoked"] == []
    assert {row["status"] for row in mas("cert", "list", "stolen", "-o", "json").json} == {"valid"}

    third = mas("cert", "rotate", "stolen", "--revoke-old", "--reason", "lost", "-o", "json").json
    assert set(third["revoked"]) == {first["serial"], second["serial"]}
    rows = {row["serial"]: row for row in mas("cert", "list", "stolen", "-o", "json").json}
    assert [rows[each]["status"] for each in (first["serial"], second["serial"], third["serial"])] == [
        "revoked", "revoked", "valid",
    ]  # fmt: skip
    assert rows[first["serial"]]["revocation"]["reason"] == "lost"
    assert rows[third["serial"]]["path"] == str(path)
    assert mas("cert", "revoke", "stolen").code == 2
    assert [row["serial"] for row in mas("cert", "revoke", "stolen", "--dry-run", "-o", "json").json] == [
        third["serial"]
    ]
    assert mas("cert", "inspect", str(path)).code == 0
    (revoked,) = mas("cert", "revoke", "stolen", "--yes", "-o", "json").json
    looked = mas("cert", "inspect", str(path), "-o", "json")
    assert (looked.code, looked.json["status"], looked.json["revocations_known"]) == (1, "revoked", True)
    assert "was revoked" in looked.err
    document = mas("rbac", "export", "-o", "json")
    assert document.code == 0
    assert (revoked["serial"], revoked["status"]) == (third["serial"], "revoked")
    assert mas("cert", "revoke", "stolen", "--yes").code == 6
    with pytest.raises(CertificateRefused):
        check_in_force(read_pair(path).certificate, now=datetime.now(UTC), revoked=revoked_serials(mas))


def revoked_serials(mas):
    """What a server refuses."""
    return {row["serial"] for row in mas("cert", "list", "-o", "json").json if row["status"] == "revoked"}


def test_certificates_from_elsewhere_are_revoked_by_file_or_number(mas, project, tmp_path):
    """In any spelling of the number; known ones are not revoked twice."""
    now = datetime.now(UTC)
    foreign = certificate_with(
        uri("spiffe://mas/agent/writer"), serial=0xF00D, start=now - timedelta(1), end=now + timedelta(1)
    )
    path = tmp_path / "foreign.pem"
    path.write_bytes(foreign.public_bytes(Encoding.PEM))

    (by_file,) = mas("cert", "revoke", "--file", str(path), "--yes", "-o", "json").json
    (by_number,) = mas("cert", "revoke", "--serial", "0B:AD", "--yes", "-o", "json").json

    assert (by_file["serial"], by_file["name"]) == ("f00d", "writer")
    assert by_number["serial"] == "bad"
    assert revoked_serials(mas) >= {"f00d", "bad"}
    assert mas("cert", "revoke", "--serial", "F00D", "--yes").code == 6
    assert mas("cert", "revoke", "--serial", "no hex", "--yes").code == 2
    assert mas("cert", "revoke", "--yes").code == 2


def test_a_new_authority_is_trusted_beside_the_old_one_until_that_is_dropped(mas, project):
    """Which is refused while somebody has a certificate of the old one, unless forced."""
    mas("agent", "register", "roller")
    old = mas("cert", "issue", "roller", "-o", "json").json
    before = read_authorities(project / ".mas/certs/authorities.pem")
    trusted = mas("cert", "ca", "--rotate", "-o", "json").json
    assert len(trusted) == len(before) + 1

    assert mas("cert", "inspect", old["path"], "-o", "json").json["trusted"] is True
    assert mas("cert", "list", "roller", "-o", "json").json[0]["status"] == "due"
    refused = mas("cert", "ca", "--drop-older", "-o", "json")
    assert (refused.code, refused.error["code"]) == (7, "conflict")
    assert "mas cert rotate roller" in refused.error["hint"]
    for row in mas("cert", "list", "-o", "json").json:
        if row["path"] and row["status"] == "due":
            assert mas("cert", "rotate", row["name"], "--for", row["kind"]).code == 0
    (only,) = mas("cert", "ca", "--drop-older", "-o", "json").json
    assert only["fingerprint"] == trusted[0]["fingerprint"]
    assert mas("cert", "inspect", old["path"], "-o", "json").json["trusted"] is True


def test_an_authority_whose_key_was_stolen_is_replaced_at_once(mas, project):
    """Everybody gets a new certificate after that, in place of one that nobody trusts any more."""
    mas("agent", "register", "victim")
    old = mas("cert", "issue", "victim", "-o", "json").json
    assert mas("cert", "ca", "--rotate", "--drop-older").code == 7
    assert len(mas("cert", "ca", "--rotate", "--drop-older", "--force", "-o", "json").json) == 1

    assert mas("cert", "list", "victim", "-o", "json").json[0]["status"] == "untrusted"
    rotated = mas("cert", "rotate", "victim", "-o", "json")
    assert (rotated.code, rotated.error["hint"][-1]) == (7, "mas cert issue victim")
    issued = mas("cert", "issue", "victim", "-o", "json").json
    assert issued["path"] == old["path"]
    assert mas("cert", "inspect", old["path"], "-o", "json").json["status"] == "valid"


def test_any_certificate_can_be_inspected(mas, project, tmp_path):
    """Whether it would be let in, and why not; chains, DER, and what is none."""
    foreign = certificate_with(uri("spiffe://mas/agent/writer"), uri("https://x"), common_name="eve")
    (tmp_path / "two.der").write_bytes(foreign.public_bytes(Encoding.DER))
    (tmp_path / "chain.pem").write_bytes(foreign.public_bytes(Encoding.PEM) * 2)
    (tmp_path / "none.pem").write_bytes(b"nothing")

    ran = mas("cert", "inspect", str(tmp_path / "two.der"), "-o", "json")
    then = datetime.now(UTC) - timedelta(days=9)
    ended = Authority.create("mas", now=then).issue(Holder("server", "h"), new_key().public_key(), now=then)
    (tmp_path / "ended.pem").write_bytes(ended.public_bytes(Encoding.PEM))
    expired = mas("cert", "inspect", str(tmp_path / "ended.pem"))
    assert (expired.code, "it has expired" in expired.err) == (1, True)
    assert ran.code == 1

    assert ran.json["problem"] == "two_uri_sans"
    assert ran.json["trusted"] is False
    assert ran.json["subject"] == "CN=eve"
    assert len(mas("cert", "inspect", str(tmp_path / "chain.pem"), "-o", "json").json) == 2
    assert mas("cert", "inspect", str(tmp_path / "none.pem")).code == 5
    assert mas("cert", "inspect", str(tmp_path / "not-there.pem")).code == 2
    shown = mas("cert", "inspect", str(tmp_path / "two.der"))
    assert "two_uri_sans" in shown.out
    assert "has 2 URIs" in shown.err


def test_several_authorities_in_one_file_are_all_trusted_and_nobody_else(mas, project, tmp_path, monkeypatch):
    """Those of tls_ca_path in place of the project's own; whom the agents of a shell trust does not count."""
    config = project / "mas.yaml"
    kept = config.read_text()
    now = datetime.now(UTC)
    ours, theirs, other = (Authority.create("mas", now=now) for _ in range(3))
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(pem_of([ours.certificate, theirs.certificate]))
    agents_own = tmp_path / "agents_own.pem"
    agents_own.write_bytes(pem_of([other.certificate]))
    monkeypatch.setenv("MAS_TLS_CA_PATH", str(agents_own))
    trusted = {}
    try:
        config.write_text(f"{kept}\ntls_ca_path: {bundle}\n")
        for name, authority in (("ours", ours), ("theirs", theirs), ("other", other)):
            certificate = authority.issue(Holder("agent", "writer"), new_key().public_key(), now=now)
            (tmp_path / name).write_bytes(pem_of([certificate]))
            trusted[name] = mas("cert", "inspect", str(tmp_path / name), "-o", "json").json["trusted"]
    finally:
        config.write_text(kept)

    assert trusted == {"ours": True, "theirs": True, "other": False}


def test_where_a_spec_names_files_they_are_written_there(mas, project):
    """Certificate and key in two files, as the spec says."""
    spec = project / "agents.d" / "pointed.yaml"
    spec.write_text(
        "agent_id: pointed\nexec: [cat]\ninstances: 0\n"
        "tls_cert_path: ../tls/pointed.crt\ntls_key_path: ../tls/pointed.key\n"
    )
    try:
        mas("agent", "register", "pointed")
        issued = mas("cert", "issue", "pointed", "-o", "json").json
        rotated = mas("cert", "rotate", "pointed", "-o", "json").json
    finally:
        spec.unlink()
    pair = read_pair(project / "tls/pointed.crt", project / "tls/pointed.key")

    assert (Path(issued["path"]).name, Path(issued["key_path"]).name) == ("pointed.crt", "pointed.key")
    assert serial_of(pair.certificate) == rotated["serial"]


def test_acts_are_recorded_with_serial_and_holder_and_no_key(mas, project):
    """Issue and revocation are in the audit with who did them; a new agent is told how it gets a certificate."""
    registered = mas("agent", "register", "audited")
    made = mas("agent", "new", "audited", "--exec", "cat")
    (project / "agents.d" / "audited.yaml").unlink()
    assert "mas cert issue audited" in registered.err
    assert "mas cert issue audited" in made.err
    issued = mas("cert", "issue", "audited", "-o", "json").json
    mas("cert", "revoke", "audited", "--reason", "a test", "--yes")

    rows = mas("audit", "list", "--kind", "operator", "--limit", "50", "-o", "json").json
    text = str([row for row in rows if "certificate." in str(row)])
    assert "certificate.issue" in text
    assert "certificate.revoke" in text
    assert issued["serial"] in text
    assert "PRIVATE KEY" not in text
    assert x509.load_pem_x509_certificates(Path(issued["path"]).read_bytes())
