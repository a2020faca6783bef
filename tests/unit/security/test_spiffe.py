"""Whom a certificate speaks for (S37): exactly what its one SPIFFE ID says, or nobody."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import CLIENT, NOW, SERVER, certificate_with, uri

from mas_core.base.ids import AGENT_ID, RESERVED_AGENT_IDS
from mas_core.errors import CertificateRefused, InvalidIdentifier, Unauthenticated
from mas_core.security.spiffe import (
    MAX_CERTIFICATE_BYTES,
    Identity,
    Reason,
    agent_of,
    agent_uri,
    check_in_force,
    check_trust_domain,
    identity_of,
    operator_of,
    operator_uri,
    read_certificate,
    serial_of,
)

ADMIN = "spiffe://mas/agent/admin"
AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


def reason_of(certificate, trust_domain="mas"):
    """Why an agent's certificate is refused."""
    with pytest.raises(CertificateRefused) as caught:
        agent_of(certificate, trust_domain=trust_domain)
    return caught.value.details["reason"]


def test_the_agent_is_the_one_in_the_one_uri():
    """Other kinds of names beside it do not matter, nor does the common name."""
    names = (x509.DNSName("other.example"), uri(ADMIN), x509.RFC822Name("eve@example.com"))

    assert agent_of(certificate_with(*names, common_name="eve"), trust_domain="mas") == "admin"
    assert agent_of(certificate_with(uri(ADMIN), extensions=[CLIENT]), trust_domain="mas") == "admin"


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ([], Reason.NO_SPIFFE_ID),
        ([""], Reason.NO_SPIFFE_ID),
        (["https://mas/agent/admin"], Reason.NO_SPIFFE_ID),
        (["SPIFFE://mas/agent/admin"], Reason.NO_SPIFFE_ID),
        ([f" {ADMIN}"], Reason.NO_SPIFFE_ID),
        (["spiffe:mas/agent/admin"], Reason.NO_SPIFFE_ID),
        ([ADMIN, "spiffe://mas/agent/eve"], Reason.TWO_URI_SANS),
        ([ADMIN, ADMIN], Reason.TWO_URI_SANS),
        ([ADMIN, "https://example.com"], Reason.TWO_URI_SANS),
        (["spiffe://evil/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://MAS/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://mas:443/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://eve@mas/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://mas.evil/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://mas\n/agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe:///agent/admin"], Reason.WRONG_TRUST_DOMAIN),
        (["spiffe://mas"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas//agent/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/x/agent/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/Agent/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/agent/admin/"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/agent/admin/eve"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/agent/../agent/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/operator/admin"], Reason.NOT_AN_AGENT),
        (["spiffe://mas/agent/"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}\n"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}\r\n"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}\x00"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}%0a"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}?x=1"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN}#x"], Reason.BAD_AGENT_ID),
        ([f"{ADMIN} "], Reason.BAD_AGENT_ID),
        (["spiffe://mas/agent/Admin"], Reason.BAD_AGENT_ID),
        (["spiffe://mas/agent/%61dmin"], Reason.BAD_AGENT_ID),
        (["spiffe://mas/agent/*"], Reason.BAD_AGENT_ID),
        (["spiffe://mas/agent/gateway"], Reason.BAD_AGENT_ID),
        ([f"spiffe://mas/agent/{'a' * 64}"], Reason.BAD_AGENT_ID),
    ],
    ids=repr,
)
def test_s37_any_other_uri_is_refused_and_the_reason_named(uris, reason):
    """No URI, two of them, another trust domain, upper case, newlines, slashes, escapes."""
    assert reason_of(certificate_with(*map(uri, uris))) == reason


def test_s37_the_common_name_is_never_looked_at():
    """Neither when it is an id nor when it is a whole SPIFFE ID; a DNS name is none either."""
    assert reason_of(certificate_with(common_name="admin")) == Reason.NO_SPIFFE_ID
    assert reason_of(certificate_with(common_name=ADMIN)) == Reason.NO_SPIFFE_ID
    assert reason_of(certificate_with(x509.DNSName("admin"), common_name="admin")) == Reason.NO_SPIFFE_ID


def test_s37_a_trust_domain_in_upper_case_is_nobodys():
    """It can be neither set nor presented, so that no two spellings mean the same."""
    with pytest.raises(InvalidIdentifier):
        check_trust_domain("MAS")
    with pytest.raises(InvalidIdentifier):
        agent_uri("mas\n", "admin")
    assert reason_of(certificate_with(uri("spiffe://Mas/agent/admin"))) == Reason.WRONG_TRUST_DOMAIN


@pytest.mark.parametrize(
    "extension",
    [
        AUTHORITY,
        SERVER,
        x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        ),
    ],
    ids=lambda extension: type(extension).__name__,
)
def test_s37_the_certificate_of_an_authority_or_a_server_is_no_agents(extension):
    """Whatever SPIFFE ID it has."""
    assert reason_of(certificate_with(uri(ADMIN), extensions=[extension])) == Reason.WRONG_USE


def test_s37_expired_early_and_revoked_certificates_are_refused():
    """At the very moment that stands in them they count; one second on they do not."""
    certificate = certificate_with(uri(ADMIN), start=NOW, end=NOW + timedelta(hours=1), serial=0x0ABC)
    second = timedelta(seconds=1)

    def reason(now, revoked=()):
        with pytest.raises(CertificateRefused) as caught:
            check_in_force(certificate, now=now, revoked=revoked)
        return caught.value.details["reason"]

    check_in_force(certificate, now=NOW)
    check_in_force(certificate, now=NOW + timedelta(hours=1), revoked={"abcd"})
    assert reason(NOW - second) == Reason.NOT_YET_VALID
    assert reason(NOW + timedelta(hours=1) + second) == Reason.EXPIRED
    assert reason(NOW, {"abc"}) == reason(NOW, {serial_of(certificate): "facts"}) == Reason.REVOKED


def test_s37_what_cannot_be_decoded_is_refused():
    """Names that are no ASCII, a certificate that is none, one that is too large."""
    der = certificate_with(uri(ADMIN)).public_bytes(Encoding.DER)

    assert reason_of(read_certificate(der.replace(b"admin", b"adm\xff\xff"))) == Reason.UNREADABLE
    version_4 = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"))
    number_0 = certificate_with(uri(ADMIN), serial=5).public_bytes(Encoding.DER)
    number_0 = number_0.replace(bytes.fromhex("020105"), bytes.fromhex("020100"), 1)
    assert version_4 != der
    for data in (b"", b"no certificate", der[:-1], version_4, number_0, der + b"x" * MAX_CERTIFICATE_BYTES):
        with pytest.raises(CertificateRefused) as caught:
            read_certificate(data)
        assert caught.value.details["reason"] == Reason.UNREADABLE


def test_a_refusal_is_an_error_of_authentication_and_shows_nothing_raw():
    """Its message can be logged: what the certificate says is escaped and short."""
    with pytest.raises(Unauthenticated) as caught:
        agent_of(certificate_with(uri(f"{ADMIN}\x1b[2J" + "x" * 500)), trust_domain="mas")

    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 250


def test_pem_and_der_are_read_and_the_first_of_a_chain_counts():
    """As the peer of a connection presents it."""
    first, second = certificate_with(uri(ADMIN)), certificate_with(uri("spiffe://mas/agent/eve"))
    chain = first.public_bytes(Encoding.PEM) + second.public_bytes(Encoding.PEM)

    assert read_certificate(chain) == first
    assert read_certificate(b"what openssl says before\n" + chain) == first
    assert read_certificate(second.public_bytes(Encoding.DER)) == second


def test_operators_are_named_by_certificates_of_their_own():
    """And neither kind passes for the other."""
    certificate = certificate_with(uri(operator_uri("mas", "jane.doe")))

    assert identity_of(certificate, trust_domain="mas") == Identity("operator", "jane.doe")
    assert operator_of(certificate, trust_domain="mas") == "jane.doe"
    with pytest.raises(CertificateRefused, match="for the agent admin"):
        operator_of(certificate_with(uri(ADMIN)), trust_domain="mas")
    for name in ("", "Jane", "jane\n", ".", "a/b"):
        with pytest.raises(CertificateRefused, match=r"cannot be the name|names neither"):
            operator_of(certificate_with(uri(f"spiffe://mas/operator/{name}")), trust_domain="mas")
        with pytest.raises(InvalidIdentifier):
            operator_uri("mas", name)


@given(st.from_regex(AGENT_ID, fullmatch=True).filter(lambda name: name not in RESERVED_AGENT_IDS))
def test_every_agent_gets_its_own_id_back(agent_id):
    """What is issued for an id is read as that id."""
    assert agent_of(certificate_with(uri(agent_uri("mas", agent_id))), trust_domain="mas") == agent_id


@given(
    st.text(st.characters(codec="ascii"), max_size=40),
    st.sampled_from(["", "spiffe://mas/agent/", "spiffe://"]),
)
def test_s37_no_text_names_an_agent_but_its_own_spiffe_id(text, beginning):
    """Whatever stands in the URI: it is refused, or it is letter by letter the ID of the agent it names."""
    certificate = certificate_with(uri(beginning + text))
    try:
        found = agent_of(certificate, trust_domain="mas")
    except CertificateRefused:
        return
    assert agent_uri("mas", found) == beginning + text
