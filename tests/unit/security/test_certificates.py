"""What the authority issues: certificates that TLS libraries take, for exactly one holder each."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.base.ids import AGENT_ID, RESERVED_AGENT_IDS
from mas_core.errors import CertificateRefused, ConfigurationError, InvalidIdentifier, UsageError
from mas_core.security.certificate_files import write_pair
from mas_core.security.certificates import (
    BACKDATED,
    LIFETIME,
    Authority,
    Holder,
    key_pem,
    lifetime_of,
    new_key,
    pem_of,
    renewal_due,
    request_key,
)
from mas_core.security.spiffe import agent_of, agent_uri, operator_of

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create("mas", now=NOW)
OTHER = Authority.create("mas", now=NOW)
ALICE = Holder("agent", "alice")
LOCALHOST = Holder("server", "localhost", ("127.0.0.1", "::1", "mas.example"))


def issued(holder, **options):
    """A certificate with a new key."""
    key = new_key()
    return AUTHORITY.issue(holder, key.public_key(), now=NOW, **options), key


def verified(certificate):
    """What an independent verifier says of a client's certificate (RFC 5280)."""
    verifier = PolicyBuilder().store(Store([AUTHORITY.certificate])).time(NOW).build_client_verifier()
    return verifier.verify(certificate, [])


def value_of(certificate, kind):
    """An extension."""
    return certificate.extensions.get_extension_for_class(kind)


def test_an_agents_certificate_has_its_one_name_and_one_use():
    """An independent verifier takes it; it is for a client, signs nothing, and names issuer and key."""
    certificate, key = issued(ALICE)
    names = value_of(certificate, x509.SubjectAlternativeName).value

    assert [name.value for name in names] == ["spiffe://mas/agent/alice"]
    assert agent_of(certificate, trust_domain="mas") == "alice"
    assert len(verified(certificate).chain) == 2
    assert value_of(certificate, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage(
        [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    usage = value_of(certificate, x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    assert value_of(certificate, x509.BasicConstraints).value.ca is False
    issuer = value_of(AUTHORITY.certificate, x509.SubjectKeyIdentifier).value.digest
    assert value_of(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == issuer
    assert value_of(certificate, x509.SubjectKeyIdentifier).value == (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    )


def test_the_authority_can_sign_no_other_authority():
    """Path length 0, and a use that says what it is for; it is no identity itself."""
    basic = value_of(AUTHORITY.certificate, x509.BasicConstraints)

    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    assert AUTHORITY.trust_domain == "mas"
    with pytest.raises(CertificateRefused):
        agent_of(AUTHORITY.certificate, trust_domain="mas")
    assert AUTHORITY.certificate.subject != OTHER.certificate.subject


def test_certificates_are_short_lived_and_never_outlive_their_authority():
    """A day unless said otherwise; they begin a little earlier for clocks that are behind."""
    certificate, _ = issued(ALICE)
    long, _ = issued(ALICE, lifetime=timedelta(days=800))

    assert certificate.not_valid_before_utc == NOW - BACKDATED
    assert certificate.not_valid_after_utc == NOW + timedelta(hours=24)
    assert long.not_valid_after_utc == AUTHORITY.certificate.not_valid_after_utc
    assert certificate.serial_number != long.serial_number
    for lifetime in (timedelta(), timedelta(days=-1), timedelta(days=5000)):
        with pytest.raises(UsageError):
            issued(ALICE, lifetime=lifetime)
    with pytest.raises(ConfigurationError, match="expired"):
        AUTHORITY.issue(ALICE, new_key().public_key(), now=NOW + timedelta(days=366))


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=24)])
def test_renewal_is_due_after_two_thirds_of_what_was_asked_for(lifetime):
    """What it begins early is no part of its life, so that a short one is not due at once."""
    certificate, _ = issued(ALICE, lifetime=lifetime)

    assert renewal_due(certificate) - NOW == lifetime * 2 / 3


def test_a_renewed_certificate_counts_as_long_as_the_one_before():
    """However often it is renewed; one that its authority cut short gets the usual time again."""
    lifetime = timedelta(hours=3)
    for _ in range(3):
        certificate, _ = issued(ALICE, lifetime=lifetime)
        lifetime = lifetime_of(certificate, [AUTHORITY.certificate])
    short = Authority.create("mas", now=NOW, lifetime=timedelta(hours=1))
    cut = short.issue(ALICE, new_key().public_key(), now=NOW)

    assert lifetime == timedelta(hours=3)
    assert lifetime_of(cut, [short.certificate, AUTHORITY.certificate]) == LIFETIME


def test_nothing_is_issued_for_names_that_nobody_can_have():
    """Ids, operators, hosts and trust domains are checked before anything is signed."""
    for holder in (
        *(Holder("agent", name) for name in ("", "Alice", "alice\n", "a/b", "gateway", "*")),
        Holder("operator", "Jane Doe"),
    ):
        with pytest.raises(InvalidIdentifier):
            issued(holder)
    for host in ("", "a b", "-x", "http://x", "x\n", "a" * 300):
        with pytest.raises(UsageError, match="neither a host name nor an address"):
            issued(Holder("server", "localhost", (host,)))
    with pytest.raises(InvalidIdentifier):
        Authority.create("MAS", now=NOW)


def test_only_agents_are_agents():
    """An operator's and a server's certificate of the same name are refused as an agent's."""
    operator, _ = issued(Holder("operator", "alice"))
    server, _ = issued(Holder("server", "alice"))

    assert operator_of(operator, trust_domain="mas") == "alice"
    for certificate in (operator, server):
        with pytest.raises(CertificateRefused):
            agent_of(certificate, trust_domain="mas")


@settings(max_examples=30)
@given(st.from_regex(AGENT_ID, fullmatch=True).filter(lambda name: name not in RESERVED_AGENT_IDS))
def test_the_agent_of_what_is_issued_is_who_it_was_issued_to(agent_id):
    """For every id that there can be."""
    certificate, _ = issued(Holder("agent", agent_id))

    assert agent_of(certificate, trust_domain="mas") == agent_id


def test_a_request_gives_its_key_and_nothing_else():
    """What it says of names is not looked at; in PEM and in DER."""
    key = new_key()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_uri("mas", "admin"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    for encoding in (Encoding.PEM, Encoding.DER):
        found = request_key(request.public_bytes(encoding))
        certificate = AUTHORITY.issue(ALICE, found, now=NOW)

        assert certificate.public_key() == key.public_key()
        assert agent_of(certificate, trust_domain="mas") == "alice"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - a weak one is what is refused
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa-1024", "secp256k1", "ed25519"],
)
def test_keys_that_not_every_side_takes_are_refused(key):
    """Weak ones, and those that TLS libraries do not take for certificates."""
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)

    with pytest.raises(UsageError, match="P-256"):
        request_key(request.public_bytes(Encoding.PEM))


def test_a_request_that_is_none_or_not_signed_by_its_key_is_refused():
    """So that nobody gets a certificate for a key that they do not have."""
    der = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(new_key(), SHA256())
        .public_bytes(Encoding.DER)
    )
    for data in (b"", b"-----BEGIN CERTIFICATE REQUEST-----", der[:-4] + bytes(4), AUTHORITY_DER):
        with pytest.raises(UsageError, match="signing request"):
            request_key(data)


AUTHORITY_DER = AUTHORITY.certificate.public_bytes(Encoding.DER)


def handshake(folder, client, server, trusted=AUTHORITY, versions=None):
    """Shake hands in memory; the certificate that the server has verified of its client."""

    def context(kind, pair, name):
        made = ssl.SSLContext(kind)
        certificate, key = pair
        write_pair(pem_of([certificate]), key_pem(key), folder / name)
        made.load_cert_chain(folder / name)
        made.load_verify_locations(cadata=pem_of([trusted.certificate]).decode())
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    asking = context(ssl.PROTOCOL_TLS_CLIENT, client, "client.pem")
    answering = context(ssl.PROTOCOL_TLS_SERVER, server, "server.pem")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = asking.wrap_bio(down, up, server_hostname="127.0.0.1")
    other = answering.wrap_bio(up, down, server_side=True)
    done = {one: False, other: False}
    for _ in range(10):
        for side in done:
            try:
                side.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
    assert all(done.values())
    return x509.load_der_x509_certificate(other.getpeercert(binary_form=True))


def test_openssl_takes_both_sides(tmp_path):
    """A whole handshake with a pair in one file: the server sees the agent's certificate."""
    alice = issued(ALICE)

    seen = handshake(tmp_path, alice, issued(LOCALHOST))

    assert agent_of(seen, trust_domain="mas") == "alice"


def test_s37_tls_refuses_other_authorities_and_agents_that_pose_as_servers(tmp_path):
    """The same names from another authority, an expired one, and a client's on the server's side."""
    key = new_key()
    foreign = OTHER.issue(ALICE, key.public_key(), now=NOW), key
    past = NOW - timedelta(hours=3)
    old = Authority.create("mas", now=past)
    expired = old.issue(ALICE, key.public_key(), now=past, lifetime=timedelta(hours=1)), key

    for client, server, trusted in (
        (foreign, issued(LOCALHOST), AUTHORITY),
        (expired, (old.issue(LOCALHOST, key.public_key(), now=past), key), old),
        (issued(ALICE), issued(ALICE), AUTHORITY),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(tmp_path, client, server, trusted)
