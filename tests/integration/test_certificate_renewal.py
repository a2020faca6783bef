"""Certificates are renewed before they end, and only those that should be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from support.systems import live_system

from mas_core.ops import agents, certificates, standings
from mas_core.ops.certificate_renewal import renew, renewing
from mas_core.ops.certificate_revocations import revoke
from mas_core.ops.project_certificates import ProjectCertificates
from mas_core.ops.status import status
from mas_core.ops.system import System
from mas_core.security.certificate_files import read_pair, write_pair
from mas_core.security.certificates import LIFETIME, Authority, Holder, key_pem, new_key, pem_of
from mas_core.security.spiffe import serial_of
from mas_core.settings.agent_spec import load_specs
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config

NAMES = ("fresh", "due", "ended", "gone", "stolen", "foreign", "torn")
LONG_AGO = timedelta(hours=20)


@pytest.fixture
async def system(server_url, tmp_path):
    """A project with an authority and agents; nothing of it runs but the store."""
    (tmp_path / "mas.yaml").write_text("name: demo\nurl: redis://h\n")
    (tmp_path / "agents.d").mkdir()
    for name in NAMES:
        text = f"agent_id: {name}\nexec: [cat]\n"
        if name == "torn":
            text += "tls_cert_path: ../tls/torn.crt\ntls_key_path: ../tls/torn.key\n"
        (tmp_path / "agents.d" / f"{name}.yaml").write_text(text)
    async with live_system(server_url, agents=NAMES, gateways=0) as live:
        target = replace(live.system.target, project=project_at(tmp_path))
        async with System(target) as opened:
            await certificates.make_authority(opened)
            yield opened


def given(system, name, ago=timedelta(), authority=None):
    """Put a certificate in place as it was issued some time ago; its serial number."""
    certificates = own(system)
    holder = SERVER if name == "localhost" else Holder("agent", name)
    authority = authority or certificates.authority()
    key = new_key()
    certificate = issued(authority, holder, key, ago)
    place = certificates.place_of(holder)
    write_pair(pem_of([certificate]), key_pem(key), place.certificate, place.key)
    return serial_of(certificate)


SERVER = Holder("server", "localhost", ("127.0.0.1",))


def issued(authority, holder, key, ago):
    """A certificate of a day that began a while ago, as if the authority were as old."""
    now = datetime.now(UTC)
    made = authority.issue(holder, key.public_key(), now=now)
    builder = x509.CertificateBuilder(
        made.issuer, made.subject, key.public_key(), made.serial_number, now - ago, now - ago + LIFETIME
    )
    for extension in made.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(authority.key, SHA256())


def own(system):
    """The certificates of the project."""
    return ProjectCertificates(load_config(system.target.project))


def serials(system):
    """Agent -> the serial number of what lies in its place."""
    found = {}
    for name in (*NAMES, "localhost"):
        place = own(system).place_of(Holder("server" if name == "localhost" else "agent", name))
        if place.certificate.exists():
            found[name] = serial_of(read_pair(place.certificate, place.key).certificate)
    return found


async def renewed(system):
    """Names of those whose certificate was renewed."""
    loaded = load_config(system.target.project)
    return {holder.name for holder in await renew(system, loaded, loaded.specs())}


async def test_what_is_due_is_renewed_and_nothing_else(system):
    """Two thirds of the life gone, ended, or torn; not what is fresh, revoked, evicted or from elsewhere."""
    other = Authority.create("mas", now=datetime.now(UTC))
    before = {
        "fresh": given(system, "fresh"),
        "due": given(system, "due", LONG_AGO),
        "ended": given(system, "ended", timedelta(days=3)),
        "gone": given(system, "gone", LONG_AGO),
        "stolen": given(system, "stolen", LONG_AGO),
        "foreign": given(system, "foreign", LONG_AGO, other),
        "torn": given(system, "torn"),
        "localhost": given(system, "localhost", LONG_AGO),
    }
    await revoke(system, serial=before["stolen"])
    await standings.set_standing(system, ["gone"], "evicted", reason="a test", wait=0)
    own(system).place_of(Holder("agent", "torn")).key.write_bytes(key_pem(new_key()))

    assert await renewed(system) == {"due", "ended", "torn", "localhost"}

    after = serials(system)
    assert {name for name, serial in after.items() if serial != before[name]} == {
        *("due", "ended", "torn", "localhost")
    }
    assert await renewed(system) == set()
    server = read_pair(own(system).folder.path_of(SERVER)).certificate
    (info,) = await certificates.list_certificates(system, ["localhost"])
    assert (info.serial, info.names) == (serial_of(server), ("DNS:localhost", "IP:127.0.0.1"))


async def test_a_new_authority_renews_what_the_old_one_has_issued(system):
    """However fresh it is, so that the old one can be dropped."""
    given(system, "fresh")
    await certificates.make_authority(system, rotate=True)

    assert await renewed(system) == {"fresh"}
    place = own(system).place_of(Holder("agent", "fresh"))
    assert own(system).authority().has_issued(read_pair(place.certificate).certificate)


async def test_the_runner_renews_while_it_runs(system):
    """Looking again and again; renewals are recorded as what they are."""
    before = given(system, "due", LONG_AGO)
    specs = load_specs(system.target.project.root / "agents.d")
    async with renewing(system, lambda: specs, every=0.01), asyncio.timeout(5):
        while serials(system)["due"] == before:
            await asyncio.sleep(0.01)

    infos = await certificates.list_certificates(system, ["due"])
    assert [info.status for info in infos] == ["valid"]


async def test_status_tells_of_certificates_that_end_or_cannot_be_used(system):
    """With what to type; those that renewal will still take care of are no problem."""
    other = Authority.create("mas", now=datetime.now(UTC))
    given(system, "fresh")
    given(system, "due", timedelta(hours=17))
    given(system, "ended", timedelta(days=3))
    given(system, "foreign", timedelta(hours=23), other)
    given(system, "torn")
    own(system).place_of(Holder("agent", "torn")).key.write_bytes(key_pem(new_key()))
    given(system, "localhost", timedelta(hours=23))

    found = {problem.message: problem.fix for problem in (await status(system)).problems}
    told = {words: fix for words, fix in found.items() if "certificate" in words}

    assert len(told) == 4
    for beginning, fix in (
        ("the certificate of the agent ended expired at", "mas cert rotate ended"),
        ("the certificate of the agent foreign expires at", "mas cert inspect"),
        ("the certificate of the agent torn cannot be used", "mas cert inspect"),
        ("the certificate of the server expires at", "mas cert rotate localhost --for server"),
    ):
        assert [told[words].startswith(fix) for words in told if words.startswith(beginning)] == [True]


async def test_s37_the_certificates_of_an_agent_that_was_removed_are_revoked(system):
    """So that they are nobody's when another agent gets its name; one without any is removed as well."""
    issued = await certificates.issue(system, Holder("agent", "gone"))

    await agents.deregister(system, "gone")
    await agents.deregister(system, "fresh")

    document = await system.policy.load()
    assert set(document.revoked_certificates) == {issued.info.serial}
    assert document.revoked_certificates[issued.info.serial].holder == "agent gone"
