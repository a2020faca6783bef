"""Why agents do not run, or soon will not: what their runners say, and certificates that count no more."""

from __future__ import annotations

from datetime import UTC, datetime

from mas_core.errors import CertificateRefused, ConfigurationError, IntegrityError, MasError
from mas_core.model.policy import PolicyDocument
from mas_core.ops.system import System
from mas_core.settings.project_config import load_config
from mas_core.settings.transport import agent_tls, transport_of


async def agent_troubles(system: System) -> dict[str, str]:
    """Agent id -> what keeps it from its work, in words; only of those where there is something.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    found = await _of_certificates(system)
    for runner in await system.runners():
        for trouble in runner.troubles:
            if trouble.message:
                found.setdefault(trouble.agent_id, trouble.message)
    return found


async def _of_certificates(system: System) -> dict[str, str]:
    """Agents of this project that go through a server with a certificate that it refuses."""
    project = system.target.project
    if project is None:
        return {}
    try:
        loaded = load_config(project)
        served = [spec for spec in loaded.specs() if transport_of(spec, loaded) == "server"]
    except ConfigurationError:
        # Its own complaint, of other commands.
        return {}
    if not served:
        return {}
    from mas_core.security.certificate_files import read_authorities  # noqa: PLC0415 - slow, and few need it
    from mas_core.security.spiffe import check_in_force  # noqa: PLC0415

    try:
        policy = await system.policy.load() or PolicyDocument()
    except IntegrityError:
        policy = PolicyDocument()
    now, found = datetime.now(UTC), {}
    for spec in served:
        try:
            certificate = read_authorities(agent_tls(spec, loaded).cert_path)[0]
            check_in_force(certificate, now=now, revoked=policy.revoked_certificates)
        except CertificateRefused as error:
            found[spec.agent_id] = error.message.removeprefix("Authentication failed: ")
        except MasError as error:
            found[spec.agent_id] = error.message
    return found
