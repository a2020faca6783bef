"""Revoke certificates, wherever they come from: in the policy when a command returns, and servers follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from mas_core.errors import KeyNotFound, UsageError
from mas_core.model.policy import PolicyDocument, RevokedCertificate
from mas_core.ops.certificate_facts import CertificateInfo, certificates_in, info_of_revocation
from mas_core.ops.project_certificates import ProjectCertificates, milliseconds, system_time
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.security.certificates import Holder
from mas_core.security.revocations import serial_number, with_revoked
from mas_core.security.spiffe import serial_of


async def revoke(
    system: System,
    holder: Holder | None = None,
    *,
    serial: str = "",
    file: Path | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> list[CertificateInfo]:
    """Refuse certificates from now on; in the policy when this returns, and servers follow within a second.

    Args:
        system: The system.
        holder: All that were issued to it here and have not ended.
        serial: Only the one of this number; it may come from anywhere.
        file: The certificate in this file; it may come from anywhere.
        reason: Why, in words; kept with the revocation.
        dry_run: Change nothing.

    Returns:
        Those that are revoked by this; of a number alone no more is known than that.

    Raises:
        KeyNotFound: There is none that could be revoked.
        UsageError: Nothing says which one is meant.
    """
    certificates = ProjectCertificates.of(system)
    if file is not None:
        found = certificates_in(file)[:1]
    elif holder is not None:
        found = certificates.issued_to(holder)
    elif serial:
        found = certificates.folder.issued()
    else:
        raise UsageError("which certificate?", hint=("mas cert revoke AGENT", "mas cert revoke --serial HEX"))
    number = serial_number(serial) if serial else ""
    found = [each for each in found if number in ("", serial_of(each))]
    known = (await system.policy.load() or PolicyDocument()).revoked_certificates
    now = await system_time(system)
    fresh = [each for each in found if serial_of(each) not in known and each.not_valid_after_utc > now]
    with acting("certificate.revoke", holder.name if holder else number or str(file), reason=reason):
        if fresh:
            return await revoke_certificates(system, fresh, reason, dry_run=dry_run)
        if number and not found and holder is None and number not in known:
            item = RevokedCertificate("", 0, reason, system.actor, milliseconds(now))
            await _write(system, {number: item}, dry_run=dry_run)
            return [info_of_revocation(number, item)]
    which = number or (str(file) if file is not None else f"the {holder}")
    raise KeyNotFound(f"no certificate of {which} is left that could be revoked", hint="mas cert list")


async def revoke_certificates(
    system: System, found: Sequence[x509.Certificate], reason: str, *, dry_run: bool = False
) -> list[CertificateInfo]:
    """Refuse these certificates from now on."""
    certificates = ProjectCertificates.of(system)
    now = await system_time(system)
    infos = [certificates.info(each, now) for each in found]
    items = {
        info.serial: RevokedCertificate(
            f"{info.kind} {info.name}".strip(), info.expires, reason, system.actor, milliseconds(now)
        )
        for info in infos
    }
    await _write(system, items, dry_run=dry_run)
    return [replace(info, status="revoked", revocation=items[info.serial]) for info in infos]


async def _write(system: System, items: dict[str, RevokedCertificate], *, dry_run: bool) -> None:
    if items and not dry_run:
        now = milliseconds(await system_time(system))
        await system.policy.change(lambda document: with_revoked(document, items, now))
