"""The certificates of one project: where they lie, who issues them, whom it trusts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509

from mas_core.errors import Conflict, MasError, ProjectNotFound, UsageError
from mas_core.model.policy import RevokedCertificate
from mas_core.ops.certificate_facts import CertificateInfo, holder_of, info_of
from mas_core.ops.system import System
from mas_core.security.authority_files import CertificateFolder
from mas_core.security.certificate_files import read_authorities
from mas_core.security.certificates import Authority, Holder
from mas_core.security.spiffe import read_certificate, serial_of
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.certificate_paths import certificates_dir
from mas_core.settings.private_files import MAX_PRIVATE_BYTES
from mas_core.settings.project_config import LoadedConfig, load_config


@dataclass(frozen=True, slots=True)
class Place:
    """Where certificate and key of somebody lie; in one file when both paths are the same."""

    certificate: Path
    key: Path


class ProjectCertificates:
    """The certificates of one project.

    Args:
        loaded: Its configuration: trust domain, and the files that it names.
        specs: Its agents, where they are known already; read from their files when left out.
    """

    def __init__(self, loaded: LoadedConfig, specs: Sequence[AgentSpec] | None = None) -> None:
        self._loaded = loaded
        self._specs = specs
        self.trust_domain = loaded.config.trust_domain
        self.folder = CertificateFolder(certificates_dir(loaded.project.root))

    @classmethod
    def of(cls, system: System) -> ProjectCertificates:
        """Those of the project of a system.

        Raises:
            ProjectNotFound: It has none at hand.
        """
        if system.target.project is None:
            raise ProjectNotFound("certificates are kept with a project", hint="run it in the project folder")
        return cls(load_config(system.target.project))

    def place_of(self, holder: Holder) -> Place:
        """Where certificate and key of somebody lie: where the spec or mas.yaml says, else in `.mas/certs`."""
        config = self._loaded.config
        named: tuple[Path | None, Path | None] = (None, None)
        if holder.kind == "server":
            named = (config.tls_server_cert_path, config.tls_server_key_path)
        elif holder.kind == "agent":
            named = self._named_by_specs.get(holder.name, named)
        certificate = named[0] or self.folder.path_of(holder)
        return Place(certificate, named[1] or certificate)

    @cached_property
    def _named_by_specs(self) -> dict[str, tuple[Path | None, Path | None]]:
        specs = self._loaded.specs() if self._specs is None else self._specs
        return {spec.agent_id: (spec.tls_cert_path, spec.tls_key_path) for spec in specs}

    def trusted(self) -> list[x509.Certificate]:
        """The authorities that are trusted: those of `tls_ca_path`, else the project's own.

        Raises:
            ConfigurationError: Their file cannot be used.
        """
        path = self._loaded.config.tls_ca_path
        return read_authorities(path) if path is not None else self.folder.trusted()

    def authority(self) -> Authority:
        """What issues.

        Raises:
            SecretUnavailable: There is none here.
            Conflict: It is for another trust domain than mas.yaml says.
        """
        found = self.folder.required_authority()
        if found.trust_domain != self.trust_domain:
            raise Conflict(
                f"the authority issues for the trust domain {found.trust_domain!r}, and mas.yaml says "
                f"{self.trust_domain!r}",
                hint="mas cert ca --rotate",
            )
        return found

    def issued_to(self, holder: Holder) -> list[x509.Certificate]:
        """What was issued to somebody here and has not been forgotten, newest first."""
        return [
            each
            for each in self.folder.issued()
            if (known := holder_of(each, self.trust_domain)) is not None
            and (known.kind, known.name) == (holder.kind, holder.name)
        ]

    def info(
        self,
        certificate: x509.Certificate,
        now: datetime,
        revoked: Mapping[str, RevokedCertificate] | None = None,
        trusted: Sequence[x509.Certificate] = (),
    ) -> CertificateInfo:
        """What a certificate says."""
        return info_of(
            certificate,
            trust_domain=self.trust_domain,
            now=now,
            revoked=revoked or {},
            authorities=trusted,
        )

    def placed(self, info: CertificateInfo) -> CertificateInfo:
        """With the path of the file where its holder has this very certificate, if it has."""
        holder = info.holder
        if holder is None:
            return info
        path = self.place_of(holder).certificate
        try:
            is_there = path.exists() and serial_of(read_certificate(text_of(path))) == info.serial
        except MasError:
            is_there = False
        return replace(info, path=path) if is_there else info


def text_of(path: Path) -> bytes:
    """What stands in a file that an operator names.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_PRIVATE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error


async def system_time(system: System) -> datetime:
    """The clock of the system's server, by which everything else of it ends."""
    return datetime.fromtimestamp(await system.store.connection.time_ms() / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """Unix milliseconds."""
    return int(moment.timestamp() * 1000)
