"""Certificates for agents, operators and servers, and the small authority that issues them.

An authority is an ECDSA P-256 key and a certificate signed by itself that may sign end entities and no other
authority (path length 0, RFC 5280). What it issues follows the X509-SVID profile: one SPIFFE ID for agents and
operators, which are clients only; DNS names and addresses for servers, which are servers only, so that nobody
with an agent's key can stand in for a server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mas_core.errors import CertificateRefused, ConfigurationError, UsageError
from mas_core.security.spiffe import agent_uri, check_trust_domain, operator_uri, spiffe_id_of

HolderKind: TypeAlias = Literal["agent", "operator", "server"]
Key: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

HOLDER_KINDS: Final[tuple[HolderKind, ...]] = ("agent", "operator", "server")
AUTHORITY_LIFETIME: Final = timedelta(days=365)
LIFETIME: Final = timedelta(hours=24)
"""Short, so that a stolen key is of use for a day at most, whether anybody notices or not."""
MAX_LIFETIME: Final = timedelta(days=825)
MIN_LIFETIME: Final = timedelta(minutes=1)
BACKDATED: Final = timedelta(minutes=5)
"""Certificates begin a little earlier, for machines whose clocks are behind."""
RENEWED_AFTER: Final = 2 / 3
"""The part of its life after which a certificate is renewed."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
"""Larger keys would make the server slow for everybody."""

_HOST = re.compile(r"(?!-)(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,20}", re.IGNORECASE)
_CURVES = (ec.SECP256R1, ec.SECP384R1)


class Holder(NamedTuple):
    """Who a certificate is for."""

    kind: HolderKind
    name: str
    """Id of the agent, name of the operator, or the host of a server."""
    hosts: tuple[str, ...] = ()
    """Of a server: more DNS names and addresses under which it is reached."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Authority:
    """What issues certificates for one trust domain."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def create(cls, trust_domain: str, *, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME) -> Self:
        """A new authority with a new key.

        Args:
            trust_domain: The only one it issues for.
            now: When it begins.
            lifetime: How long it counts; nothing that it issues counts longer.

        Raises:
            InvalidIdentifier: No trust domain can have this name.
            UsageError: It would count too long, or hardly at all.
        """
        uri = f"spiffe://{check_trust_domain(trust_domain)}"
        check_lifetime(lifetime, most=10 * AUTHORITY_LIFETIME)
        key = new_key()
        number = x509.random_serial_number()
        # Authorities of one domain differ by name, so that readers of bundles pick the right one.
        name = _name(trust_domain, f"mas authority {format(number, 'x')[:8]}")
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(number)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(own, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        )
        return cls(builder.sign(key, SHA256()), key)

    @property
    def trust_domain(self) -> str:
        """The one that it issues for."""
        return trust_domain_of(self.certificate)

    def issue(
        self,
        holder: Holder,
        key: object,
        *,
        now: datetime,
        lifetime: timedelta = LIFETIME,
    ) -> x509.Certificate:
        """A certificate for somebody's public key.

        Args:
            holder: Who it is for; that they may have it is for the caller to know.
            key: The public half of the key that the holder has.
            now: When it begins.
            lifetime: How long it counts, but never longer than the authority itself.

        Raises:
            InvalidIdentifier: The holder cannot have this name.
            UsageError: It would count too long, or hardly at all, or the key is of a kind that is not taken.
            ConfigurationError: The authority has expired.
        """
        check_lifetime(lifetime)
        public_key = check_key(key)
        names = _names(holder, self.trust_domain)
        if now >= self.certificate.not_valid_after_utc:
            raise ConfigurationError(
                f"the authority expired at {self.certificate.not_valid_after_utc.isoformat()}",
                hint="mas cert ca --rotate",
            )
        issuer = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        use = ExtendedKeyUsageOID.SERVER_AUTH if holder.kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.trust_domain, holder.name[:64]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self.certificate.not_valid_before_utc))
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return builder.sign(self.key, SHA256())

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate carries the signature of this authority."""
        return is_issued_by(certificate, self.certificate)


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether a certificate names an authority as its issuer and carries its signature."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def trust_domain_of(authority: x509.Certificate) -> str:
    """The trust domain that an authority of ours issues for; empty when it says none."""
    try:
        return spiffe_id_of(authority).removeprefix("spiffe://")
    except CertificateRefused:
        return ""


def new_key() -> Key:
    """A fresh ECDSA P-256 key: what every TLS library takes."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """A private key as PKCS #8 in PEM, not encrypted: for private files alone."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_of(certificates: Sequence[x509.Certificate]) -> bytes:
    """Certificates in PEM, one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def request_key(data: bytes) -> PublicKey:
    """The public key that a certificate signing request (PKCS #10) is for.

    Whoever made it has the private key, which the signature shows. What it says of names is not looked at.

    Raises:
        UsageError: It is no request, is not signed by its key, or the key is of a kind that is not taken.
    """
    try:
        request = x509.load_pem_x509_csr(data) if b"-----BEGIN" in data else x509.load_der_x509_csr(data)
        if not request.is_signature_valid:
            raise UsageError("the signing request is not signed by the key that it names")
        key = request.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, InvalidSignature) as error:
        raise UsageError(
            "this is no certificate signing request in PEM or DER",
            hint="openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / "
            "-keyout key.pem -out request.pem",
        ) from error
    return check_key(key)


def check_key(key: object) -> PublicKey:
    """Return a public key when certificates are issued for its kind.

    Raises:
        UsageError: They are not.
    """
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
            return key
        case rsa.RSAPublicKey() if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return key
        case _:
            raise UsageError(
                "certificates are issued for keys on the curves P-256 and P-384, and for RSA keys of "
                f"{MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
            )


def check_lifetime(lifetime: timedelta, *, most: timedelta = MAX_LIFETIME) -> timedelta:
    """Return a lifetime when certificates may have it.

    Raises:
        UsageError: It is shorter than a minute, or longer than `most`.
    """
    if not MIN_LIFETIME <= lifetime <= most:
        raise UsageError(f"a certificate counts for a minute to {most.days} days", hint="--expires 24h")
    return lifetime


def lifetime_of(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> timedelta:
    """The lifetime that a certificate was issued for.

    Args:
        certificate: Of one that was cut short by the end of its authority nobody knows, and it is the usual one.
        authorities: Those who may have issued it.
    """
    if any(each.not_valid_after_utc <= certificate.not_valid_after_utc for each in authorities):
        return LIFETIME
    return max(MIN_LIFETIME, certificate.not_valid_after_utc - issued_at(certificate))


def issued_at(certificate: x509.Certificate) -> datetime:
    """When a certificate was issued: what it began early, for clocks that are behind, is no part of its life."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + BACKDATED if end - begin > BACKDATED else begin


def renewal_due(certificate: x509.Certificate) -> datetime:
    """When a certificate should be renewed: after two thirds of its life, so that a third is left to do it."""
    begin, end = issued_at(certificate), certificate.not_valid_after_utc
    return begin + (end - begin) * RENEWED_AFTER


def host_name(text: str) -> x509.GeneralName:
    """A DNS name or an address as an alternative name.

    Raises:
        UsageError: It is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if len(text) > 253 or not _HOST.fullmatch(text):
        raise UsageError(f"{text!r} is neither a host name nor an address")
    return x509.DNSName(text.lower())


def _names(holder: Holder, trust_domain: str) -> list[x509.GeneralName]:
    if holder.kind == "agent":
        return [x509.UniformResourceIdentifier(agent_uri(trust_domain, holder.name))]
    if holder.kind == "operator":
        return [x509.UniformResourceIdentifier(operator_uri(trust_domain, holder.name))]
    return [host_name(each) for each in dict.fromkeys((holder.name, *holder.hosts))]


def _name(organisation: str, common: str) -> x509.Name:
    """A name for people to read; an organisation has at most 64 characters (RFC 5280, appendix A.1)."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
