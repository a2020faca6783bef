"""What is wrong, or soon will be, with the certificates that lie with a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509

from mas_core.errors import MasError
from mas_core.ops.certificate_facts import rotation_command
from mas_core.ops.project_certificates import ProjectCertificates
from mas_core.security.certificate_files import read_pair
from mas_core.security.certificates import Holder, issued_at
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.project_config import LoadedConfig

ENDING: Final = 1 / 6
"""Part of its life that a certificate has left when it is told: half of what renewal had."""
AUTHORITY_ENDING: Final = timedelta(days=30)


class CertificateProblem(NamedTuple):
    """One thing that is wrong."""

    message: str
    fix: str
    """A command that leads on."""


def certificate_problems(loaded: LoadedConfig, specs: Sequence[AgentSpec]) -> list[CertificateProblem]:
    """The certificates of these agents, of the server and of the authority that have ended or end soon.

    Args:
        loaded: The configuration of the project.
        specs: Its agents.
    """
    certificates = ProjectCertificates(loaded, specs)
    now = datetime.now(UTC)
    return [
        *_of_authority(certificates, now),
        *_of_holder(certificates, Holder("server", "localhost"), "the server", now),
        *(
            problem
            for spec in specs
            for problem in _of_holder(
                certificates, Holder("agent", spec.agent_id), f"the agent {spec.agent_id}", now
            )
        ),
    ]


def _of_authority(certificates: ProjectCertificates, now: datetime) -> Iterator[CertificateProblem]:
    path = certificates.folder.authority_path
    if not path.exists():
        return
    try:
        end = read_pair(path).certificate.not_valid_after_utc
    except MasError as error:
        yield CertificateProblem(
            f"the certificate authority cannot be used: {error.message}", "mas cert ca --rotate"
        )
        return
    if end - now < AUTHORITY_ENDING:
        yield CertificateProblem(f"the certificate authority {_ends(end, now)}", "mas cert ca --rotate")


def _of_holder(
    certificates: ProjectCertificates, holder: Holder, who: str, now: datetime
) -> Iterator[CertificateProblem]:
    place = certificates.place_of(holder)
    if not place.certificate.exists():
        return
    inspect = f"mas cert inspect {place.certificate}"
    try:
        certificate = read_pair(place.certificate, place.key).certificate
    except MasError as error:
        yield CertificateProblem(f"the certificate of {who} cannot be used: {error.message}", inspect)
        return
    end = certificate.not_valid_after_utc
    if end - now < (end - issued_at(certificate)) * ENDING:
        fix = _rotation(certificates, holder, certificate) or inspect
        yield CertificateProblem(f"the certificate of {who} {_ends(end, now)}", fix)


def _rotation(certificates: ProjectCertificates, holder: Holder, certificate: x509.Certificate) -> str:
    if not certificates.folder.authority_path.exists() or not certificates.folder.knows(certificate):
        return ""
    return rotation_command(holder)


def _ends(end: datetime, now: datetime) -> str:
    when = f"{end:%Y-%m-%d %H:%M} UTC"
    return f"expired at {when}" if end <= now else f"expires at {when}"
