"""Proof that a text comes from an operator: a signature by the token, or by the key of a certificate.

A certificate goes with the signature. It counts when an authority that the policy names for this operator has
issued it, when it speaks for the operator by its SPIFFE ID, and while it is in force; so nothing but the policy is
needed to check a proof, on any machine.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mas_core.errors import (
    CertificateRefused,
    ConfigurationError,
    OperatorUnknown,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
    UsageError,
)
from mas_core.model.operator_entry import SIGNED_AS
from mas_core.model.operators import OperatorKey, OperatorRecord
from mas_core.security.certificate_files import Credentials
from mas_core.security.certificates import check_key, is_issued_by
from mas_core.security.spiffe import Reason, check_in_force, operator_of, read_certificate, refused

SIGNATURE_SIZE: Final = 64
"""Of Ed25519 (RFC 8032): what is longer holds a certificate."""
MAX_PROOF_BYTES: Final = 8 * 1024


class _ByCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    certificate: bytes
    """DER."""
    signature: bytes


class CertificateSigner:
    """Signs with the key of a certificate.

    Args:
        name: The operator.
        credentials: Certificate and key.

    Raises:
        ConfigurationError: The key is of a kind that is not taken.
    """

    def __init__(self, name: str, credentials: Credentials) -> None:
        self.name = name
        self._certificate = credentials.certificate.public_bytes(Encoding.DER)
        key = load_pem_private_key(credentials.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ConfigurationError("the key of the operator's certificate is neither ECDSA nor RSA")
        self._key = key

    def sign(self, text: bytes) -> bytes:
        """Certificate and signature."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(SIGNED_AS + text, _PSS, SHA256())
        else:
            signature = self._key.sign(SIGNED_AS + text, ec.ECDSA(SHA256()))
        return msgspec.msgpack.encode(_ByCertificate(self._certificate, signature))


def check_proof(
    name: str,
    record: OperatorRecord | None,
    text: bytes,
    proof: bytes,
    *,
    now: int,
    revoked: Container[str] = (),
) -> None:
    """Make sure that a text comes from an operator.

    Args:
        name: The operator.
        record: What the policy holds about the operator; None if nothing.
        text: What is said to be the operator's.
        proof: What came with it.
        now: When it was written, Unix milliseconds.
        revoked: Serial numbers of certificates that do not count.

    Raises:
        OperatorUnknown: There is no such operator.
        TokenRevoked: It was not signed with the token that counts.
        TokenExpired: The token did not count any more.
        CertificateRefused: The certificate does not count.
        Unauthenticated: What came is no proof.
    """
    if record is None:
        raise OperatorUnknown(f"this system has no operator {name}", hint="mas operator list", operator=name)
    if record.key is None:
        _check_certificate(name, record, text, proof, now, revoked)
        return
    if len(proof) != SIGNATURE_SIZE or not _is_signed(record.key, text, proof):
        raise TokenRevoked(
            f"Authentication failed: the token of the operator {name} is not the one that counts",
            hint=f"mas operator token rotate {name}",
        )
    if not record.key.is_valid(now):
        raise TokenExpired(
            f"Authentication failed: the token of the operator {name} has expired",
            hint=f"mas operator token rotate {name}",
        )


def _is_signed(key: OperatorKey, text: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.signing_key)).verify(signature, SIGNED_AS + text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_certificate(
    name: str, record: OperatorRecord, text: bytes, proof: bytes, now: int, revoked: Container[str]
) -> None:
    if len(proof) > MAX_PROOF_BYTES:
        raise Unauthenticated("Authentication failed: what came in place of a certificate is too long")
    try:
        shown = msgspec.msgpack.decode(proof, type=_ByCertificate)
    except (msgspec.DecodeError, RecursionError):
        raise Unauthenticated(
            f"Authentication failed: the operator {name} has to show a certificate", hint="mas help operators"
        ) from None
    certificate = read_certificate(shown.certificate)
    at = datetime.fromtimestamp(now / 1000, UTC)
    if not any(_is_authority(each, certificate, at) for each in record.authorities):
        raise CertificateRefused(
            "Authentication failed: no authority that counts for this operator has issued the certificate",
            hint=f"mas operator token rotate {name}",
            reason="untrusted",
        )
    found = operator_of(certificate, trust_domain=record.trust_domain)
    if found != name:
        raise refused(Reason.NOT_AN_OPERATOR, f"the certificate is for the operator {found}, not for {name}")
    check_in_force(certificate, now=at, revoked=revoked)
    try:
        key = check_key(certificate.public_key())
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(shown.signature, SIGNED_AS + text, _PSS, SHA256())
        else:
            key.verify(shown.signature, SIGNED_AS + text, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm, UsageError):
        raise Unauthenticated(
            f"Authentication failed: the key of the certificate of {name} has not signed this"
        ) from None


def _is_authority(pem: str, certificate: x509.Certificate, at: datetime) -> bool:
    authority = read_certificate(pem.encode())
    try:
        check_in_force(authority, now=at)
    except CertificateRefused:
        return False
    return is_issued_by(certificate, authority)


def authorities_of(certificates: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """Authorities as the policy holds them."""
    return tuple(each.public_bytes(Encoding.PEM).decode() for each in certificates)


_PSS: Final = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
