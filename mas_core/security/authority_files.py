"""The certificates that a project keeps: its authority, what that has issued, and whom it trusts.

.mas/certs/                  0700
├─ authorities.pem           certificates of the authority and of those before it that still count
├─ agents/<agent>.pem        certificate and key of an agent
├─ operators/<name>.pem
├─ server.pem
└─ ca/
   ├─ authority.pem          certificate and key of the authority
   └─ issued/<serial>.pem    certificates that it has issued, until they end
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mas_core.errors import ConfigurationError, Conflict, SecretUnavailable
from mas_core.security.certificate_files import read_authorities, read_pair, write_pair
from mas_core.security.certificates import (
    AUTHORITY_LIFETIME,
    Authority,
    Holder,
    is_issued_by,
    key_pem,
    pem_of,
)
from mas_core.security.spiffe import serial_of
from mas_core.settings import certificate_paths
from mas_core.settings.file_locks import file_lock
from mas_core.settings.private_files import private_dir, write_private


class CertificateFolder:
    """The folder `.mas/certs` of a project.

    Args:
        folder: It; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities_path = certificate_paths.authorities(folder)
        self.authority_path = certificate_paths.authority(folder)
        self._issued = certificate_paths.issued_dir(folder)

    def path_of(self, holder: Holder) -> Path:
        """Where certificate and key of somebody lie."""
        match holder.kind:
            case "agent":
                return certificate_paths.agent_certificate(self.folder, holder.name)
            case "operator":
                return certificate_paths.operator_certificate(self.folder, holder.name)
            case "server":
                return certificate_paths.server_certificate(self.folder)

    def authority(self) -> Authority | None:
        """The project's own authority; None when it has none.

        Raises:
            SecretUnavailable: Others can read its key.
            ConfigurationError: Its file cannot be used.
        """
        if not self.authority_path.exists():
            return None
        pair = read_pair(self.authority_path)
        key = load_pem_private_key(pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self.authority_path} holds no key of an authority of mas")
        return Authority(pair.certificate, key)

    def required_authority(self) -> Authority:
        """The project's own authority.

        Raises:
            SecretUnavailable: There is none here, or others can read its key.
            ConfigurationError: Its file cannot be used.
        """
        found = self.authority()
        if found is None:
            raise SecretUnavailable(
                f"there is no certificate authority in {self.folder}, so nothing can be issued here",
                hint="mas cert ca",
            )
        return found

    def trusted(self) -> list[x509.Certificate]:
        """The authorities that are trusted: the one that issues first; none where there is none."""
        return read_authorities(self.authorities_path) if self.authorities_path.exists() else []

    def create_authority(
        self,
        trust_domain: str,
        *,
        now: datetime,
        lifetime: timedelta = AUTHORITY_LIFETIME,
        replace: bool = False,
    ) -> Authority:
        """Make an authority; what those before it have issued counts on until they end.

        Args:
            trust_domain: What it issues for.
            now: When it begins.
            lifetime: How long it counts.
            replace: Make a new one although there is one; the key of that is destroyed.

        Raises:
            Conflict: There is one, and it is not to be replaced.
            UsageError: It would count too long, or hardly at all.
        """
        private_dir(self.folder)
        folder = private_dir(self.authority_path.parent)
        with file_lock(folder / "lock"):
            if self.authority_path.exists() and not replace:
                raise Conflict(
                    f"there is an authority in {folder} already",
                    hint=("mas cert list", "mas cert ca --rotate"),
                )
            authority = Authority.create(trust_domain, now=now, lifetime=lifetime)
            before = [each for each in self.trusted() if each.not_valid_after_utc > now]
            # Trusted before it issues anything.
            write_private(self.authorities_path, pem_of([authority.certificate, *before]))
            write_pair(pem_of([authority.certificate]), key_pem(authority.key), self.authority_path)
        return authority

    def drop_older_authorities(self) -> list[x509.Certificate]:
        """Trust nobody but the authority that issues now; gives those that were dropped.

        Raises:
            SecretUnavailable: There is no authority here.
        """
        current = self.required_authority().certificate
        with file_lock(self.authority_path.parent / "lock"):
            dropped = [each for each in self.trusted() if each != current]
            if dropped:
                write_private(self.authorities_path, pem_of([current]))
        return dropped

    def knows(self, certificate: x509.Certificate) -> bool:
        """Whether the authority, or one before it that is still trusted, has issued a certificate."""
        return any(is_issued_by(certificate, each) for each in self.trusted())

    def keep(self, certificate: x509.Certificate, *, now: datetime) -> None:
        """Remember a certificate that was issued, and forget those that have ended."""
        folder = private_dir(self._issued)
        for path in folder.glob("*.pem"):
            end = path.name.partition("-")[0]
            if end.isdecimal() and int(end) < now.timestamp():
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        end = str(int(certificate.not_valid_after_utc.timestamp()))
        write_private(folder / f"{end}-{serial_of(certificate)}.pem", pem_of([certificate]))

    def issued(self) -> list[x509.Certificate]:
        """The certificates that were issued here and have not been forgotten, newest first."""
        found = []
        for path in sorted(self._issued.glob("*.pem")):
            with contextlib.suppress(ConfigurationError):
                found.append(read_authorities(path)[0])
        return sorted(found, key=lambda each: each.not_valid_before_utc, reverse=True)
