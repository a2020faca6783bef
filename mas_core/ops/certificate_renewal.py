"""Renews certificates before they end: those of the agents that run here, and of the server.

Only what the project's own authority, or one before it, has issued and what lies here with its key. Everything
else is renewed by whoever issued it, and read again when its files change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from mas_core.base.logs import get_logger
from mas_core.errors import MasError
from mas_core.model.policy import PolicyDocument
from mas_core.ops.certificates import rotate
from mas_core.ops.project_certificates import ProjectCertificates, system_time, text_of
from mas_core.ops.system import System
from mas_core.security.certificate_files import read_pair
from mas_core.security.certificates import Holder, renewal_due
from mas_core.security.spiffe import read_certificate, serial_of
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.project_config import LoadedConfig, load_config

log = get_logger(__name__)

LOOK_EVERY_S: Final = 60.0
SERVER: Final = Holder("server", "localhost")
"""Stands for the server, of which a project has one certificate, whatever its hosts."""


async def renew(system: System, loaded: LoadedConfig, specs: Sequence[AgentSpec]) -> list[Holder]:
    """Renew the certificates that are due, of these agents and of the server; gives whose were.

    One that cannot be renewed is told in the log, and does not keep the others from it. A certificate that was
    revoked, and one of an agent that was evicted or is not registered, is left to end.

    Args:
        system: The system.
        loaded: The configuration of its project; where that has no authority nothing is done.
        specs: The agents that run here.

    Raises:
        StoreUnreachable: The server does not answer.
        IntegrityError: The stored policy cannot be read.
    """
    certificates = ProjectCertificates(loaded, specs)
    if not certificates.folder.authority_path.exists():
        return []
    now = await system_time(system)
    holders = [SERVER, *(Holder("agent", spec.agent_id) for spec in specs)]
    due = [holder for holder in holders if _is_due(certificates, holder, now)]
    policy = (await system.policy.load() if due else None) or PolicyDocument()
    renewed = []
    for holder in due:
        if _is_left_to_end(certificates, holder, policy):
            continue
        try:
            issued = await rotate(system, holder, reason="renewal", certificates=certificates)
        except MasError as error:
            log.warning("certificate.not_renewed", holder=str(holder), reason=error.message)
            continue
        log.info("certificate.renewed", holder=str(holder), serial=issued.info.serial)
        renewed.append(holder)
    return renewed


@asynccontextmanager
async def renewing(
    system: System, specs: Callable[[], Sequence[AgentSpec]], *, every: float = LOOK_EVERY_S
) -> AsyncIterator[None]:
    """Within the block, certificates are renewed when they are due.

    Args:
        system: The system; without a project nothing is done.
        specs: Gives the agents that run here now.
        every: Seconds between two looks.
    """
    project = system.target.project
    if project is None:
        yield
        return

    async def look() -> None:
        while True:
            try:
                await renew(system, load_config(project), specs())
            except MasError as error:
                log.warning("certificate.not_renewed", reason=error.message)
            await asyncio.sleep(every)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _is_due(certificates: ProjectCertificates, holder: Holder, now: datetime) -> bool:
    """Whether somebody's certificate lies here with its key, is ours, and is to be replaced."""
    place = certificates.place_of(holder)
    if not place.certificate.exists():
        return False
    try:
        certificate = read_certificate(text_of(place.certificate))
        if not certificates.folder.knows(certificate):
            return False
        with contextlib.suppress(MasError):
            read_pair(place.certificate, place.key)
            # From an authority that issues no more, it is renewed while that is still trusted.
            current = certificates.folder.required_authority().has_issued(certificate)
            # What is due before the next look is due now: of a life of two minutes that would come too late.
            return now + timedelta(seconds=LOOK_EVERY_S) >= renewal_due(certificate) or not current
        # A writer that died between key and certificate has left a pair that nobody can use.
        return place.key != place.certificate and place.key.exists()
    except MasError as error:
        log.warning("certificate.unusable", holder=str(holder), reason=error.message)
        return False


def _is_left_to_end(certificates: ProjectCertificates, holder: Holder, policy: PolicyDocument) -> bool:
    if holder.kind == "agent" and policy.standing_of(holder.name) == "evicted":
        return True
    certificate = read_certificate(text_of(certificates.place_of(holder).certificate))
    return serial_of(certificate) in policy.revoked_certificates
