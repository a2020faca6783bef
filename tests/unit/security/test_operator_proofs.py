"""Proofs of operators: by token, by certificate, and whatever only looks like one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mas_core.base.known_secrets import hidden
from mas_core.errors import (
    CertificateRefused,
    ConfigurationError,
    MasError,
    OperatorUnknown,
    RoleForbidden,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
)
from mas_core.model.operators import ROLES, OperatorRecord
from mas_core.security.certificate_files import Credentials
from mas_core.security.certificates import Authority, Holder, key_pem, new_key
from mas_core.security.gateway_keys import DECISIONS, GatewayKeys
from mas_core.security.operator_credentials import (
    PARTS,
    keys_of,
    new_credential,
    read_credential,
    signer_of,
)
from mas_core.security.operator_proofs import CertificateSigner, authorities_of, check_proof
from mas_core.security.spiffe import read_certificate, serial_of

KEYS = GatewayKeys.generate()
NOW = datetime.now(UTC)
MS = int(NOW.timestamp() * 1000)
OURS = Authority.create("mas", now=NOW - timedelta(days=1), lifetime=timedelta(days=30))
RECORD = OperatorRecord("viewer", MS, authorities=authorities_of([OURS.certificate]), trust_domain="mas")


def certified(
    name: str = "ann",
    *,
    kind: str = "operator",
    authority: Authority = OURS,
    key: object = None,
    age_h: int = 0,
) -> CertificateSigner:
    """Signs as ann with a fresh certificate for somebody."""
    made = key or new_key()
    pem = (
        key_pem(made)
        if key is None
        else made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    certificate = authority.issue(Holder(kind, name), made.public_key(), now=NOW - timedelta(hours=age_h))
    return CertificateSigner("ann", Credentials(certificate, b"", pem))


def test_a_token_proves_its_operator_and_nobody_else():
    """For its own text, under its own name, until it ends."""
    credential = new_credential("ann", "viewer", KEYS)
    signer = signer_of(credential)
    record = OperatorRecord("viewer", MS, key=signer.public_half(created=MS, expires=MS + 10))
    other = signer_of(new_credential("ann", "viewer", KEYS))
    proof = signer.sign(b"text")

    check_proof("ann", record, b"text", proof, now=MS)
    for text, shown in (
        (b"other", proof),
        (b"text", other.sign(b"text")),
        (b"text", b""),
        (b"text", proof * 9),
    ):
        with pytest.raises(TokenRevoked):
            check_proof("ann", record, text, shown, now=MS)
    with pytest.raises(TokenExpired):
        check_proof("ann", record, b"text", proof, now=MS + 10)
    with pytest.raises(OperatorUnknown):
        check_proof("ann", None, b"text", proof, now=MS)
    renamed = msgspec.structs.replace(credential, operator="bob")
    with pytest.raises(TokenRevoked):
        check_proof("bob", record, b"text", signer_of(renamed).sign(b"text"), now=MS)


@pytest.mark.parametrize("key", [None, rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
def test_a_certificate_proves_its_operator(key):
    """By the authorities that the policy names, without a token."""
    check_proof("ann", RECORD, b"text", certified(key=key).sign(b"text"), now=MS)


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (certified("bob"), "not_an_operator"),
        (certified(kind="agent"), "not_an_operator"),
        (certified(authority=Authority.create("mas", now=NOW)), "untrusted"),
        (certified(age_h=25), "expired"),
    ],
    ids=["of another", "of an agent", "of strangers", "expired"],
)
def test_s5_a_certificate_of_somebody_else_is_refused(signer, reason):
    """Another operator's, an agent's of the same name, of another authority of the same domain, an old one."""
    with pytest.raises(CertificateRefused) as caught:
        check_proof("ann", RECORD, b"text", signer.sign(b"text"), now=MS)
    assert caught.value.details["reason"] == reason


def test_s5_a_revoked_certificate_and_one_of_another_trust_domain_are_refused():
    """Whoever has issued them."""
    signer = certified()
    proof = signer.sign(b"text")
    serial = serial_of(read_certificate(msgspec.msgpack.decode(proof)[0]))
    with pytest.raises(CertificateRefused):
        check_proof("ann", RECORD, b"text", proof, now=MS, revoked={serial})
    elsewhere = msgspec.structs.replace(RECORD, trust_domain="other")
    with pytest.raises(CertificateRefused):
        check_proof("ann", elsewhere, b"text", proof, now=MS)


def test_s5_a_certificate_without_its_key_is_no_proof():
    """Who has seen a proof has the certificate, and can sign nothing else with it."""
    certificate, signature = msgspec.msgpack.decode(certified().sign(b"text"))
    for forged in (
        msgspec.msgpack.encode([certificate, signature[:-1]]),
        msgspec.msgpack.encode([certificate, b""]),
        msgspec.msgpack.encode([certificate]),
        msgspec.msgpack.encode([certificate, signature, signature]),
        certificate,
        b"\xc1" * 100,
        b"x" * 100_000,
    ):
        with pytest.raises(MasError) as caught:
            check_proof("ann", RECORD, b"text", forged, now=MS)
        assert isinstance(caught.value, Unauthenticated)
    with pytest.raises(Unauthenticated):
        check_proof("ann", RECORD, b"other", msgspec.msgpack.encode([certificate, signature]), now=MS)


@pytest.mark.parametrize("role", ROLES)
def test_s5_a_role_has_no_key_that_it_needs_not(role):
    """What is missing cannot be derived, and is refused by name; nobody but the owner vouches for the owner."""
    held = keys_of(new_credential("ann", role, KEYS))

    assert held.check_mac("policy", b"x", KEYS.mac("policy", b"x"))
    assert (held.public_key, held.key_id) == (KEYS.public_key, KEYS.key_id)
    for name in ("at_rest_key", "seal_key", "fingerprint_key", "decision_key", "audit_key", "owner_key"):
        if name in PARTS[role]:
            assert getattr(held, name) is not None
        else:
            with pytest.raises(RoleForbidden):
                getattr(held, name)
    with pytest.raises(RoleForbidden):
        held.mac("operator", b"x")
    if role == "operator":
        assert held.mac(f"{DECISIONS}1", b"x") == KEYS.mac(f"{DECISIONS}1", b"x")
    else:
        with pytest.raises(RoleForbidden):
            held.mac(f"{DECISIONS}1", b"x")
    if role == "auditor":
        assert held.payload_hmac(b"x") == KEYS.payload_hmac(b"x")
    else:
        with pytest.raises(RoleForbidden):
            held.payload_hmac(b"x")


def test_a_credential_shows_no_secret_and_is_read_strictly():
    """Nothing but what was written is taken."""
    credential = new_credential("ann", "viewer", KEYS)
    text = msgspec.json.encode(credential)
    assert read_credential(text, "it") == credential
    for secret in (credential.token, *credential.keys.values()):
        assert secret not in repr(credential)
        assert hidden(f"it was {secret}") == "it was ****"

    good = msgspec.json.decode(text)
    for changed in (
        {"operator": "Ann!"},
        {"role": "owner"},
        {"token": "mas_x"},
        {"gateway": "00"},
        {"keys": {"mac_key": "zz"}},
        {"keys": {"owner_key": "00" * 32}},
        {"keys": {"mac_key": "00"}},
        {"more": 1},
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_credential(msgspec.json.encode(good | changed), "it")
        assert credential.token not in str(caught.value)
    for hostile in (b"", b"\xff", b"[" * 100_000, b"null"):
        with pytest.raises(ConfigurationError):
            read_credential(hostile, "it")
