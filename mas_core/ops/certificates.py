"""What the authority of a project issues to agents, operators and servers.

What is issued is recorded as every other act of an operator. Keys are made here and go to private files, or
stay where their holder made them and only a signing request comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from mas_core.errors import Conflict, KeyNotFound, MasError, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.ops.agents import require_agents
from mas_core.ops.certificate_authority import make_authority
from mas_core.ops.certificate_facts import (
    CertificateInfo,
    certificates_in,
    holder_of,
    info_of,
    info_of_revocation,
    issuing_command,
    rotation_command,
)
from mas_core.ops.certificate_revocations import revoke_certificates
from mas_core.ops.project_certificates import Place, ProjectCertificates, system_time, text_of
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.security.certificate_files import read_pair, write_pair
from mas_core.security.certificates import (
    HOLDER_KINDS,
    LIFETIME,
    Authority,
    Holder,
    is_issued_by,
    key_pem,
    lifetime_of,
    new_key,
    pem_of,
    request_key,
)
from mas_core.security.spiffe import read_certificate, serial_of
from mas_core.settings.private_files import write_private
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config

__all__ = [
    "HOLDER_KINDS",
    "CertificateInfo",
    "Holder",
    "Issued",
    "inspect",
    "issue",
    "list_certificates",
    "make_authority",
    "rotate",
]

DEFAULT_LIFETIME_S = LIFETIME.total_seconds()


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued, and where it and its key are."""

    info: CertificateInfo
    certificate: Path
    key: Path | None
    """None where the key stayed with its holder."""
    revoked: tuple[CertificateInfo, ...] = ()
    """What it replaces and was revoked."""


async def issue(
    system: System,
    holder: Holder,
    *,
    lifetime: float = DEFAULT_LIFETIME_S,
    request: Path | None = None,
    out: Path | None = None,
    key_out: Path | None = None,
    dry_run: bool = False,
) -> Issued:
    """Issue a certificate with a new key, or for the key of a signing request.

    Args:
        system: The system.
        holder: Who it is for; an agent has to be registered, since no server lets others in.
        lifetime: Seconds for which it counts.
        request: A certificate signing request; its key stays where it is, and what it says of names is not
            looked at.
        out: Where the certificate goes; where its holder looks for it when left out.
        key_out: Where the key goes; to the certificate when left out.
        dry_run: Write nothing.

    Raises:
        AgentNotFound: The agent is not registered.
        Conflict: The holder has a certificate that counts, or a file is there already.
        SecretUnavailable: There is no authority here.
        UsageError: It would count too long, or for a key of a kind that is not taken.
    """
    if out is None and (request is not None or key_out is not None):
        raise UsageError("where does the certificate go?", hint="--out FILE")
    if request is not None and key_out is not None:
        raise UsageError("the key stays with who made the request", hint="leave out --key-out")
    issuer = await _Issuer.of(system, holder, ProjectCertificates.of(system))
    if request is not None and out is not None:
        key = request_key(text_of(request))
        _require_no_key(out)
        certificate = issuer.certificate(holder, key, lifetime)
        return await issuer.hand_over(holder, certificate, Place(out, out), b"", dry_run=dry_run)
    if out is not None:
        place = Place(out, key_out or out)
        _require_nothing(place)
    else:
        place = issuer.certificates.place_of(holder)
        _require_useless(place, holder, issuer)
    return await issuer.with_new_key(holder, place, lifetime, dry_run=dry_run)


async def rotate(
    system: System,
    holder: Holder,
    *,
    lifetime: float = 0,
    revoke_old: bool = False,
    reason: str = "",
    dry_run: bool = False,
    certificates: ProjectCertificates | None = None,
) -> Issued:
    """Issue a new certificate with a new key in place of the one that somebody has.

    The old one counts until it ends, for whoever has not read the new one yet.

    Args:
        system: The system.
        holder: Whose; of a server the hosts are those of its certificate unless some are given.
        lifetime: Seconds for which the new one counts; as long as the old one when 0.
        revoke_old: Refuse all that the holder had before at once.
        reason: Why, in words.
        dry_run: Change nothing.
        certificates: Those of the system's project, where they are at hand.

    Raises:
        AgentNotFound: The agent is not registered.
        KeyNotFound: There is no certificate of it here.
        Conflict: Its certificate comes from another authority.
    """
    certificates = certificates or ProjectCertificates.of(system)
    issuer = await _Issuer.of(system, holder, certificates)
    place = certificates.place_of(holder)
    if not place.certificate.exists():
        raise KeyNotFound(
            f"the {holder} has no certificate in {place.certificate}", hint=issuing_command(holder)
        )
    old = read_certificate(text_of(place.certificate))
    if not certificates.folder.knows(old):
        raise Conflict(
            f"the certificate in {place.certificate} comes from another authority, which renews it",
            hint=(f"mas cert inspect {place.certificate}", issuing_command(holder)),
        )
    if holder.kind == "server" and not holder.hosts:
        holder = holder_of(old, certificates.trust_domain) or holder
    lasting = lifetime or lifetime_of(old, certificates.folder.trusted()).total_seconds()
    with acting("certificate.rotate", holder.name, reason=reason):
        issued = await issuer.with_new_key(holder, place, lasting, dry_run=dry_run)
        if not revoke_old:
            return issued
        older = {serial_of(each): each for each in (*certificates.issued_to(holder), old)}
        older.pop(issued.info.serial, None)
        revoked = await revoke_certificates(system, list(older.values()), reason, dry_run=dry_run)
    return replace(issued, revoked=tuple(revoked))


async def list_certificates(system: System, names: Sequence[str] = ()) -> list[CertificateInfo]:
    """What was issued here and has not ended, newest first; what is revoked; whom the project trusts.

    Args:
        system: The system.
        names: Only those of these agents, operators, servers or trust domains; all when empty.
    """
    certificates = ProjectCertificates.of(system)
    now = await system_time(system)
    revoked = (await system.policy.load() or PolicyDocument()).revoked_certificates
    trusted = certificates.trusted()
    issued = [
        certificates.placed(certificates.info(each, now, revoked, trusted))
        for each in certificates.folder.issued()
    ]
    known = {item.serial for item in issued}
    current = certificates.folder.authority()
    if current is not None:
        issued = [_due_unless_from(current.certificate.subject, item) for item in issued]
    found = [
        *issued,
        *(info_of_revocation(serial, item) for serial, item in revoked.items() if serial not in known),
        *(certificates.info(each, now, revoked, trusted) for each in trusted),
    ]
    return [item for item in found if not names or item.name in names]


def inspect(
    path: Path, project: Project | None, policy: PolicyDocument | None = None
) -> list[CertificateInfo]:
    """What the certificates in a file say, wherever they come from.

    Args:
        path: A file in PEM or DER.
        project: Whose trust domain and authorities they are compared with.
        policy: Says which are revoked.

    Raises:
        UsageError: It cannot be read.
        CertificateRefused: It holds no certificate.
    """
    trust_domain, trusted = "mas", list[x509.Certificate]()
    if project is not None:
        certificates = ProjectCertificates(load_config(project))
        trust_domain, trusted = certificates.trust_domain, certificates.trusted()
    revoked = policy.revoked_certificates if policy is not None else {}
    now = datetime.now(UTC)
    return [
        info_of(each, trust_domain=trust_domain, now=now, revoked=revoked, authorities=trusted, path=path)
        for each in certificates_in(path)
    ]


@dataclass(frozen=True, slots=True)
class _Issuer:
    """What it takes to issue one certificate."""

    system: System
    certificates: ProjectCertificates
    authority: Authority
    now: datetime

    @classmethod
    async def of(cls, system: System, holder: Holder, certificates: ProjectCertificates) -> _Issuer:
        if holder.kind == "operator":
            # Whoever could issue these could act as somebody with another role.
            system.access.require("own", "to issue a certificate to an operator")
        authority = certificates.authority()
        if holder.kind == "agent":
            await require_agents(system, holder.name)
        return cls(system, certificates, authority, await system_time(system))

    def certificate(self, holder: Holder, key: object, lifetime: float) -> x509.Certificate:
        return self.authority.issue(holder, key, now=self.now, lifetime=timedelta(seconds=lifetime))

    async def with_new_key(self, holder: Holder, place: Place, lifetime: float, *, dry_run: bool) -> Issued:
        key = new_key()
        certificate = self.certificate(holder, key.public_key(), lifetime)
        return await self.hand_over(holder, certificate, place, key_pem(key), dry_run=dry_run)

    async def hand_over(
        self, holder: Holder, certificate: x509.Certificate, place: Place, key: bytes, *, dry_run: bool
    ) -> Issued:
        trusted = [self.authority.certificate]
        info = replace(self.certificates.info(certificate, self.now, {}, trusted), path=place.certificate)
        issued = Issued(info, place.certificate, place.key if key else None)
        if dry_run:
            return issued
        change = {
            "holder": str(holder),
            "serial": info.serial,
            "fingerprint": info.fingerprint,
            "expires": info.expires,
            "key": "made here" if key else "stays with its holder",
        }
        log = self.system.operator_log
        with acting("certificate.issue", holder.name):
            async with log.writing("certificate", holder.name, change=change, is_open=False):
                self.certificates.folder.keep(certificate, now=self.now)
                if key:
                    write_pair(pem_of([certificate]), key, place.certificate, place.key)
                else:
                    write_private(place.certificate, pem_of([certificate]))
        return issued


def _due_unless_from(issuer: x509.Name, item: CertificateInfo) -> CertificateInfo:
    """What an authority has issued that issues no more is renewed, however fresh it is."""
    is_due = item.status == "valid" and item.issuer != issuer.rfc4514_string()
    return replace(item, status="due") if is_due else item


def _require_no_key(path: Path) -> None:
    if path.exists() and b"PRIVATE KEY" in text_of(path):
        raise Conflict(f"there is a key in {path}, and no key is overwritten", path=str(path))


def _require_nothing(place: Place) -> None:
    for path in (place.certificate, place.key):
        if path.exists() or path.is_symlink():
            raise Conflict(f"there is a file {path} already, and no key is overwritten", path=str(path))


def _require_useless(place: Place, holder: Holder, issuer: _Issuer) -> None:
    """Make sure that no pair is overwritten that its holder can use here."""
    certificates = issuer.certificates
    try:
        certificate = read_pair(place.certificate, place.key).certificate
        trusted = [*certificates.trusted(), *certificates.folder.trusted()]
    except MasError:
        return
    end = certificate.not_valid_after_utc
    if end > issuer.now and any(is_issued_by(certificate, each) for each in trusted):
        raise Conflict(
            f"the {holder} has a certificate until {end.isoformat()}",
            hint=(rotation_command(holder), f"mas cert inspect {place.certificate}"),
        )
