"""An authority for development and small installations: made, changed without a gap, and trusted no more.

Its key lies in a private file of the project. Making it is recorded as every other act of an operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from mas_core.errors import Conflict
from mas_core.model.policy import PolicyDocument, RevokedCertificate
from mas_core.ops.certificate_facts import CertificateInfo, rotation_command
from mas_core.ops.project_certificates import ProjectCertificates, system_time
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.security.certificates import AUTHORITY_LIFETIME, Authority

AUTHORITY_LIFETIME_S: Final = AUTHORITY_LIFETIME.total_seconds()


async def make_authority(
    system: System,
    *,
    lifetime: float = AUTHORITY_LIFETIME_S,
    rotate: bool = False,
    drop_older: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> list[CertificateInfo]:
    """Make the project's authority, or a new one in its place.

    Args:
        system: The system.
        lifetime: Seconds for which it counts.
        rotate: There may be one already. What it has issued counts on; its key is destroyed.
        drop_older: Trust nobody but the authority that issues; without `rotate` no new one is made.
        force: Drop older ones although somebody here still has a certificate of theirs.
        dry_run: Change nothing, and tell what would be trusted.

    Returns:
        The authorities that are trusted from now on, the one that issues first.

    Raises:
        Conflict: There is one already, or one that is to be dropped is still needed.
        SecretUnavailable: Older ones are to be dropped, and there is none that issues.
        ProjectNotFound: The system has no project at hand.
        UsageError: It would count too long, or hardly at all.
    """
    certificates = ProjectCertificates.of(system)
    folder, now = certificates.folder, await system_time(system)
    makes_one = rotate or not drop_older
    period = timedelta(seconds=lifetime)
    if folder.authority_path.exists() and makes_one and not rotate:
        raise Conflict(
            f"there is an authority in {folder.authority_path.parent} already",
            hint=("mas cert list", "mas cert ca --rotate"),
        )
    if drop_older and not force:
        revoked = (await system.policy.load() or PolicyDocument()).revoked_certificates
        _require_unneeded(certificates, now, revoked, is_replaced=makes_one)
    if dry_run:
        would = (
            Authority.create(certificates.trust_domain, now=now, lifetime=period)
            if makes_one
            else folder.required_authority()
        ).certificate
        rest = [] if drop_older else [each for each in folder.trusted() if each != would]
        return [certificates.info(each, now) for each in (would, *rest)]
    action = "certificate.authority" if makes_one else "certificate.authority.drop"
    with acting(action, certificates.trust_domain):
        async with system.operator_log.writing("certificate", is_open=False) as change:
            if makes_one:
                folder.create_authority(certificates.trust_domain, now=now, lifetime=period, replace=rotate)
            if drop_older:
                folder.drop_older_authorities()
            found = [certificates.info(each, now) for each in folder.trusted()]
            change.facts = {"trusted": [item.fingerprint for item in found]}
    return found


def _require_unneeded(
    certificates: ProjectCertificates,
    now: datetime,
    revoked: Mapping[str, RevokedCertificate],
    *,
    is_replaced: bool,
) -> None:
    """Make sure that nobody here has a certificate of an authority that is not trusted any more."""
    current = certificates.folder.required_authority()
    users = [
        item
        for each in certificates.folder.issued()
        if (is_replaced or not current.has_issued(each)) and certificates.folder.knows(each)
        if (item := certificates.placed(certificates.info(each, now, revoked))).path is not None
        and item.status in ("valid", "due")
    ]
    if users:
        holders = [item.holder for item in users if item.holder is not None]
        raise Conflict(
            f"{', '.join(str(holder) for holder in holders[:5])} still "
            f"{'has a certificate' if len(users) == 1 else 'have certificates'} of an authority to be dropped",
            hint=(*(rotation_command(holder) for holder in holders[:5]), "mas cert ca --drop-older --force"),
        )
