"""Who a certificate speaks for: the one SPIFFE ID in it, an agent's or an operator's.

An X.509-SVID (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md) has exactly one URI among its
alternative names: `spiffe://<trust domain>/agent/<agent id>`. Nothing else in a certificate says who it is for;
its common name is never looked at. That it comes from an authority that is trusted is for TLS to verify.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Container
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mas_core.base.ids import check_agent_id
from mas_core.errors import CertificateRefused, InvalidIdentifier

Kind: TypeAlias = Literal["agent", "operator"]
E = TypeVar("E", bound=x509.ExtensionType)

TRUST_DOMAIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
OPERATOR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
"""Of one certificate; those in use have about 1 KiB."""

_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_SPIFFE_ID = re.compile(r"spiffe://([^/]*)(/.*)?", re.DOTALL)
_PATH = re.compile(r"/(agent|operator)/([^/]*)", re.DOTALL)


class Reason(StrEnum):
    """Why a certificate is refused; in `details["reason"]` of the error and in the audit."""

    UNREADABLE = "unreadable"
    """It, or what says whom it is for, cannot be decoded."""
    NO_SPIFFE_ID = "no_spiffe_id"
    """It has no URI, or one that is no SPIFFE ID."""
    TWO_URI_SANS = "two_uri_sans"
    """It has more than one URI."""
    WRONG_TRUST_DOMAIN = "wrong_trust_domain"
    """It comes from another trust domain, or writes ours otherwise."""
    NOT_AN_AGENT = "not_an_agent"
    """It is for an operator, a server or something else."""
    NOT_AN_OPERATOR = "not_an_operator"
    """It is for an agent, a server or something else."""
    BAD_AGENT_ID = "bad_agent_id"
    """What stands where the id belongs cannot be one."""
    BAD_OPERATOR_NAME = "bad_operator_name"
    """What stands where the name belongs cannot be one."""
    WRONG_USE = "wrong_use"
    """It is an authority's, or not for clients."""
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Identity(NamedTuple):
    """Whom a certificate speaks for."""

    kind: Kind
    name: str


def agent_of(certificate: x509.Certificate, *, trust_domain: str) -> str:
    """The id of the agent that a certificate speaks for.

    Args:
        certificate: A client's certificate; that TLS has verified it is for the caller to know.
        trust_domain: The only one from which identities are taken.

    Raises:
        CertificateRefused: It speaks for no agent of this trust domain; `details["reason"]` is a `Reason`.
    """
    identity = identity_of(certificate, trust_domain=trust_domain)
    if identity.kind != "agent":
        raise refused(Reason.NOT_AN_AGENT, f"the certificate is for the operator {identity.name}")
    return identity.name


def operator_of(certificate: x509.Certificate, *, trust_domain: str) -> str:
    """The name of the operator that a certificate speaks for.

    Raises:
        CertificateRefused: It speaks for no operator of this trust domain.
    """
    identity = identity_of(certificate, trust_domain=trust_domain)
    if identity.kind != "operator":
        raise refused(Reason.NOT_AN_OPERATOR, f"the certificate is for the agent {identity.name}")
    return identity.name


def identity_of(certificate: x509.Certificate, *, trust_domain: str) -> Identity:
    """Whom a client's certificate speaks for, agent or operator.

    Raises:
        CertificateRefused: It speaks for nobody of this trust domain.
    """
    uri = spiffe_id_of(certificate)
    check_use(certificate)
    parts = _SPIFFE_ID.fullmatch(uri)
    if parts is None:
        raise refused(Reason.NO_SPIFFE_ID, f"the URI {_shown(uri)} of the certificate is no SPIFFE ID")
    if parts[1] != trust_domain:
        raise refused(
            Reason.WRONG_TRUST_DOMAIN,
            f"the certificate is from the trust domain {_shown(parts[1])}, not from {trust_domain!r}",
        )
    path = _PATH.fullmatch(parts[2] or "")
    if path is None:
        raise refused(Reason.NOT_AN_AGENT, f"{_shown(uri)} names neither an agent nor an operator")
    kind, name = path[1], path[2]
    if kind == "operator":
        if not OPERATOR_NAME.fullmatch(name):
            raise refused(Reason.BAD_OPERATOR_NAME, f"{_shown(name)} cannot be the name of an operator")
        return Identity("operator", name)
    try:
        return Identity("agent", check_agent_id(name))
    except InvalidIdentifier:
        raise refused(Reason.BAD_AGENT_ID, f"{_shown(name)} cannot be the id of an agent") from None


def spiffe_id_of(certificate: x509.Certificate) -> str:
    """The one URI among the alternative names of a certificate, as it stands there.

    Raises:
        CertificateRefused: It has none, or several, or cannot be decoded.
    """
    names = extension_of(certificate, x509.SubjectAlternativeName)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise refused(Reason.NO_SPIFFE_ID, "the certificate has no SPIFFE ID among its alternative names")
    if len(uris) > 1:
        raise refused(Reason.TWO_URI_SANS, f"the certificate has {len(uris)} URIs, and may have one")
    return uris[0]


def check_in_force(certificate: x509.Certificate, *, now: datetime, revoked: Container[str] = ()) -> None:
    """Make sure that a certificate counts at this time.

    TLS verifies the times at the handshake; connections live longer than that.

    Args:
        certificate: Whose times and serial number are looked at.
        now: With its time zone.
        revoked: Serial numbers, as `serial_of` writes them.

    Raises:
        CertificateRefused: It is too early, too late, or revoked.
    """
    if serial_of(certificate) in revoked:
        raise refused(Reason.REVOKED, f"the certificate {serial_of(certificate)} was revoked")
    if now < certificate.not_valid_before_utc:
        when = certificate.not_valid_before_utc.isoformat()
        raise refused(Reason.NOT_YET_VALID, f"the certificate is valid from {when} on")
    if now > certificate.not_valid_after_utc:
        when = certificate.not_valid_after_utc.isoformat()
        raise refused(Reason.EXPIRED, f"the certificate expired at {when}")


def read_certificate(data: bytes) -> x509.Certificate:
    """The first certificate in PEM, or the one in DER.

    Raises:
        CertificateRefused: It is too large or cannot be decoded.
    """
    begin = data.find(_PEM_BEGIN)
    if begin >= 0:
        end = data.find(_PEM_BEGIN, begin + 1)
        data = data[begin : end if end > 0 else None]
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise refused(Reason.UNREADABLE, f"the certificate has more than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            # It warns of what RFC 5280 forbids; that is refused here.
            warnings.simplefilter("ignore")
            load = x509.load_pem_x509_certificate if begin >= 0 else x509.load_der_x509_certificate
            certificate = load(data)
            is_numbered = certificate.serial_number > 0
    except (ValueError, x509.InvalidVersion):
        raise refused(Reason.UNREADABLE, "this is no certificate in PEM or DER") from None
    if not is_numbered:
        raise refused(Reason.UNREADABLE, "the certificate has no positive serial number")
    return certificate


def extension_of(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """What a certificate says in an extension of this kind; None where it has none.

    Raises:
        CertificateRefused: Its extensions cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise refused(Reason.UNREADABLE, "what the certificate says cannot be decoded") from None


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number in lower-case hexadecimal without leading zeros: what revocations name."""
    return format(certificate.serial_number, "x")


def agent_uri(trust_domain: str, agent_id: str) -> str:
    """The SPIFFE ID of an agent.

    Raises:
        InvalidIdentifier: No agent can have this id, or no trust domain this name.
    """
    return f"spiffe://{check_trust_domain(trust_domain)}/agent/{check_agent_id(agent_id)}"


def operator_uri(trust_domain: str, name: str) -> str:
    """The SPIFFE ID of an operator.

    Raises:
        InvalidIdentifier: No operator or no trust domain can have this name.
    """
    if not OPERATOR_NAME.fullmatch(name):
        raise InvalidIdentifier(
            f"{name!r} cannot be the name of an operator",
            hint="names have 1 to 63 characters of a-z 0-9 . _ - and start with a letter or a digit",
        )
    return f"spiffe://{check_trust_domain(trust_domain)}/operator/{name}"


def check_trust_domain(text: str) -> str:
    """Return `text` when it can be a trust domain.

    Raises:
        InvalidIdentifier: It is not 1 to 255 of `a-z 0-9 . _ -`, with a letter or digit first.
    """
    if not TRUST_DOMAIN.fullmatch(text):
        raise InvalidIdentifier(
            f"{text!r} cannot be a trust domain",
            hint="trust domains have 1 to 255 characters of a-z 0-9 . _ - and start with a letter or a digit",
        )
    return text


def refused(reason: Reason, message: str) -> CertificateRefused:
    """The error that says why a certificate does not count."""
    return CertificateRefused(f"Authentication failed: {message}", reason=reason.value)


def check_use(certificate: x509.Certificate) -> None:
    """Make sure that it is an end entity's and may be a client's (X509-SVID, sections 4.1 to 4.4).

    Raises:
        CertificateRefused: It is an authority's, or not for clients.
    """
    basic = extension_of(certificate, x509.BasicConstraints)
    usage = extension_of(certificate, x509.KeyUsage)
    if (basic is not None and basic.ca) or (usage is not None and (usage.key_cert_sign or usage.crl_sign)):
        raise refused(Reason.WRONG_USE, "the certificate is that of an authority")
    uses = extension_of(certificate, x509.ExtendedKeyUsage)
    if uses is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise refused(Reason.WRONG_USE, "the certificate is not for clients")


def _shown(text: str) -> str:
    """What a certificate says, safe to log and short."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 100 else quoted[:99] + "…"
