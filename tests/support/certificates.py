"""Certificates of any kind, as authorities of others may issue them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mas_core.security.certificates import Authority

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate_with(
    *names: x509.GeneralName,
    common_name: str = "someone",
    extensions: Sequence[x509.ExtensionType] = (),
    start: datetime = NOW - timedelta(hours=1),
    end: datetime = NOW + timedelta(hours=1),
    serial: int = 0xABC,
    authority: Authority | None = None,
) -> x509.Certificate:
    """A certificate with these alternative names for KEY, signed by an authority or by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY if authority is None else authority.key, SHA256())


def uri(text: str) -> x509.UniformResourceIdentifier:
    """An alternative name."""
    return x509.UniformResourceIdentifier(text)


CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
