"""What a certificate says, and whether it would be let in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from mas_core.errors import CertificateRefused, UsageError
from mas_core.model.policy import RevokedCertificate
from mas_core.security.certificates import HOLDER_KINDS, Holder, is_issued_by, renewal_due, trust_domain_of
from mas_core.security.spiffe import (
    MAX_CERTIFICATE_BYTES,
    check_in_force,
    extension_of,
    identity_of,
    read_certificate,
    serial_of,
)
from mas_core.settings.private_files import MAX_PRIVATE_BYTES

Status: TypeAlias = Literal["valid", "due", "untrusted", "early", "expired", "revoked"]
MAX_CHAIN = 100
_USES = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "client",
    ExtendedKeyUsageOID.SERVER_AUTH: "server",
}


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One certificate, as it may be shown; times in Unix milliseconds."""

    serial: str
    kind: str
    """agent, operator, server, authority, or other."""
    name: str
    """The agent, operator, host or trust domain that it is for; empty where that cannot be said."""
    status: Status
    """valid, due (to be renewed), untrusted (by its issuer), early, expired or revoked."""
    starts: int
    expires: int
    renews: int
    """When two thirds of its life are over."""
    subject: str
    issuer: str
    names: tuple[str, ...]
    """Its alternative names, each with its kind: `URI:spiffe://mas/agent/a`, `DNS:localhost`."""
    key: str
    uses: tuple[str, ...]
    """client, server, or the number of another use."""
    fingerprint: str
    """SHA-256 of the whole certificate, hex."""
    problem: str
    """Why nobody would be let in with it, in one word of `spiffe.Reason`; empty where somebody would."""
    explanation: str
    """The same as a sentence."""
    trusted: bool | None = None
    """Whether an authority that is trusted here has issued it; None where none are known."""
    path: Path | None = None
    """Where it lies with its key, if that is known."""
    revocation: RevokedCertificate | None = None

    @property
    def refusal(self) -> str:
        """Why nobody would take it, in words; empty where it would be taken."""
        if self.problem and self.kind not in ("authority", "server"):
            return self.explanation
        return _REFUSALS.get(self.status, "")

    @property
    def holder(self) -> Holder | None:
        """Who it is for, where it is somebody who can hold one here."""
        for kind in HOLDER_KINDS:
            if self.kind == kind:
                return Holder(kind, self.name)
        return None


def info_of(
    certificate: x509.Certificate,
    *,
    trust_domain: str,
    now: datetime,
    revoked: Mapping[str, RevokedCertificate],
    authorities: Sequence[x509.Certificate] = (),
    path: Path | None = None,
) -> CertificateInfo:
    """What a certificate says.

    Args:
        certificate: It.
        trust_domain: From which identities are taken.
        now: What its times are compared with.
        revoked: Serial number -> what is known of certificates that were revoked.
        authorities: Those who are trusted here.
        path: Where it lies.
    """
    kind, name, problem, explanation = _identity(certificate, trust_domain)
    try:
        check_in_force(certificate, now=now, revoked=revoked)
        status: Status = "due" if now >= renewal_due(certificate) and kind != "authority" else "valid"
    except CertificateRefused as error:
        reason = str(error.details["reason"])
        status = _STATUS[reason]
        problem, explanation = (problem, explanation) if problem else (reason, error.message)
    trusted = any(is_issued_by(certificate, each) or certificate == each for each in authorities)
    if authorities and not trusted and status in ("valid", "due"):
        status = "untrusted"
    return CertificateInfo(
        serial=serial_of(certificate),
        kind=kind,
        name=name,
        status=status,
        starts=_milliseconds(certificate.not_valid_before_utc),
        expires=_milliseconds(certificate.not_valid_after_utc),
        renews=_milliseconds(renewal_due(certificate)),
        subject=_text(certificate, "subject"),
        issuer=_text(certificate, "issuer"),
        names=names_in(certificate),
        key=_key(certificate),
        uses=_uses(certificate),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        problem=problem,
        explanation=explanation,
        trusted=trusted if authorities else None,
        path=path,
        revocation=revoked.get(serial_of(certificate)),
    )


def info_of_revocation(serial: str, item: RevokedCertificate) -> CertificateInfo:
    """What is known of a certificate of which only the revocation is at hand."""
    kind, _, name = item.holder.partition(" ")
    return CertificateInfo(
        serial=serial,
        kind=kind or "other",
        name=name,
        status="revoked",
        starts=0,
        expires=item.expires,
        renews=0,
        subject="",
        issuer="",
        names=(),
        key="",
        uses=(),
        fingerprint="",
        problem="revoked",
        explanation=f"the certificate {serial} was revoked",
        revocation=item,
    )


def issuing_command(holder: Holder) -> str:
    """What one types for a first certificate."""
    kind = "" if holder.kind == "agent" else f" --for {holder.kind}"
    return f"mas cert issue {holder.name}{kind}"


def rotation_command(holder: Holder) -> str:
    """What one types for another certificate."""
    return issuing_command(holder).replace("issue", "rotate", 1)


def holder_of(certificate: x509.Certificate, trust_domain: str) -> Holder | None:
    """Who a certificate is for, where somebody here can hold one like it."""
    try:
        return Holder(*identity_of(certificate, trust_domain=trust_domain))
    except CertificateRefused:
        hosts = _hosts(certificate)
        return Holder("server", hosts[0], hosts[1:]) if hosts and "server" in _uses(certificate) else None


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Every certificate in a file in PEM, or the one in DER.

    Raises:
        UsageError: The file cannot be read.
        CertificateRefused: One cannot be decoded.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PRIVATE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    begin = b"-----BEGIN CERTIFICATE-----"
    parts = [begin + part[:MAX_CERTIFICATE_BYTES] for part in data.split(begin)[1 : MAX_CHAIN + 1]]
    return [read_certificate(part) for part in parts or [data]]


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """The alternative names of a certificate, each with its kind; none where they cannot be decoded."""
    try:
        names = extension_of(certificate, x509.SubjectAlternativeName)
    except CertificateRefused:
        return ()
    return tuple(_name(each) for each in names or ())


_REFUSALS: Mapping[Status, str] = {
    "untrusted": "no authority that the project trusts has issued it",
    "early": "it does not count yet",
    "expired": "it has expired",
    "revoked": "it was revoked",
}
_STATUS: Mapping[str, Status] = {"not_yet_valid": "early", "expired": "expired", "revoked": "revoked"}


def _identity(certificate: x509.Certificate, trust_domain: str) -> tuple[str, str, str, str]:
    """Kind, name, and why it lets nobody in."""
    try:
        identity = identity_of(certificate, trust_domain=trust_domain)
        return identity.kind, identity.name, "", ""
    except CertificateRefused as error:
        problem, explanation = str(error.details["reason"]), error.message
    if _is_authority(certificate):
        return "authority", trust_domain_of(certificate), problem, explanation
    holder = holder_of(certificate, trust_domain)
    if holder is not None:
        return holder.kind, holder.name, problem, explanation
    return "other", "", problem, explanation


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        basic = extension_of(certificate, x509.BasicConstraints)
    except CertificateRefused:
        return False
    return basic is not None and basic.ca


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    return tuple(text.partition(":")[2] for text in names_in(certificate) if text.startswith(("DNS:", "IP:")))


def _uses(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        uses = extension_of(certificate, x509.ExtendedKeyUsage)
    except CertificateRefused:
        return ()
    return tuple(_USES.get(each, each.dotted_string) for each in uses or ())


def _name(name: x509.GeneralName) -> str:
    match name:
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case _:
            return type(name).__name__


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown"
    match key:
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return type(key).__name__.removesuffix("PublicKey")
        case _:
            return "other"


def _text(certificate: x509.Certificate, side: Literal["subject", "issuer"]) -> str:
    try:
        with warnings.catch_warnings():
            # It warns of names that are too long or too short; they are shown as they are.
            warnings.simplefilter("ignore")
            name = certificate.subject if side == "subject" else certificate.issuer
        return name.rfc4514_string()
    except (ValueError, TypeError):
        return ""


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
