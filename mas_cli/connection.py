"""From the flags of a call to the project and the system that it works on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mas_cli.command_entry import Command
from mas_cli.errors import ReadOnly
from mas_cli.input.shared_flags import SharedFlags
from mas_cli.operator_permissions import permission_of
from mas_core.errors import ConfigurationError, ProjectNotFound, Refused, RoleForbidden, Unreachable
from mas_core.settings.contexts import ContextStore
from mas_core.settings.operator_files import VARIABLE
from mas_core.settings.project import Project, find_project, project_at
from mas_core.settings.target import Target, chosen_context, named_operator, resolve_target

_AUDIT_READERS = frozenset({"watch", "record", "trace", "policy simulate", "policy shadow report"})
"""Commands outside `mas audit` that read audit records."""

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation
    from mas_core.ops.system import System


def project_of(flags: SharedFlags) -> Project | None:
    """The project of --config, of --context, or of the current folder; a context without one has none.

    Raises:
        ContextNotFound: There is no such context.
        ConfigurationError: The file named is not there.
    """
    if flags.config:
        return project_at(Path(flags.config))
    if flags.context:
        context = ContextStore().get(flags.context)
        return project_at(context.project) if context.project else None
    return find_project()


def required_project(flags: SharedFlags) -> Project:
    """The project, which has to be there.

    Raises:
        ProjectNotFound: There is none.
    """
    found = project_of(flags)
    if found is not None:
        return found
    if flags.context:
        raise ProjectNotFound(
            f"the context {flags.context!r} names a server, not a project",
            hint=f"mas context show {flags.context}",
        )
    raise ProjectNotFound(f"no mas.yaml in {Path.cwd()} or in any folder above", hint="mas init DIR")


def target_of(flags: SharedFlags) -> Target:
    """The system that the flags, the environment, the project and the contexts lead to.

    Raises:
        ProjectNotFound: Nothing leads anywhere.
        ContextNotFound: The named context does not exist.
        StoreUnreachable: There is a project, but nothing of it runs.
    """
    config = Path(flags.config) if flags.config else None
    return resolve_target(context=flags.context, config=config, url=flags.url)


def check_context(command: Command, flags: SharedFlags) -> None:
    """Make sure that the context lets the command change something, before anything is looked at.

    Raises:
        ReadOnly: It is read-only.
        ContextNotFound: There is no such context.
    """
    config = Path(flags.config) if flags.config else None
    found = chosen_context(context=flags.context, config=config, url=flags.url)
    if found is not None and found.read_only:
        raise ReadOnly(
            f"mas {command.name} changes something, and the context {found.name} is read-only",
            hint=f"mas context show {found.name}",
        )


@asynccontextmanager
async def open_system(call: Invocation) -> AsyncIterator[System]:
    """The system that a call works on, open; what protects its context counts from here on.

    Raises:
        ProjectNotFound, ContextNotFound, StoreUnreachable: As `target_of`.
    """
    async with opened(call, target_of(call.flags)) as system:
        yield system


@asynccontextmanager
async def open_as_admin(call: Invocation) -> AsyncIterator[System]:
    """The system that a call works on, as somebody who may make users of the server.

    Raises:
        ProjectNotFound, ContextNotFound, StoreUnreachable: As `target_of`.
    """
    from mas_core.ops.server_users import admin_target

    async with opened(call, await admin_target(target_of(call.flags))) as system:
        yield system


@asynccontextmanager
async def opened(call: Invocation, target: Target) -> AsyncIterator[System]:
    """A system that was found, open; what protects its context counts from here on."""
    from mas_core.ops.system import System

    if target.protected:
        call.ask.protect(target.name)
    async with System(target) as system, admitted(system, call, target):
        if _asks_audit(call.command):
            from mas_core.ops.audit_questions import note_question

            await note_question(system, call.command.name.replace(" ", "."))
        yield system


@asynccontextmanager
async def admitted(system: System, call: Invocation, target: Target) -> AsyncIterator[None]:
    """Let a call work on a system as far as the role of the operator permits; what it does not is recorded.

    Raises:
        OperatorUnknown, TokenRevoked, TokenExpired: Nobody knows who this is.
        RoleForbidden: The role does not permit it.
    """
    system.operator_log.explain(context=target.name, command=call.command_line, reason=call.reason)
    try:
        system.access.require(permission_of(call.command) or "see", f"mas {call.command.name}")
        yield
    except Refused as error:
        if error is system.access.problem or isinstance(error, RoleForbidden):
            await system.operator_log.denied(call.command.name.replace(" ", "."), error.message)
        raise


async def admit(call: Invocation) -> None:
    """Make sure that the role of the operator permits a call that opens the system in its own way.

    Raises:
        OperatorUnknown, TokenRevoked, TokenExpired, RoleForbidden: As `admitted`.
        ProjectNotFound, ContextNotFound, StoreUnreachable: As `target_of`.
    """
    from mas_core.ops.system import System

    target = target_of(call.flags)
    async with System(target) as system, admitted(system, call, target):
        pass


def admit_owner(call: Invocation) -> None:
    """Refuse an operator what only the owner of the gateway's keys does, whether anything runs or not.

    Raises:
        RoleForbidden: An operator was named.
    """
    config = Path(call.flags.config) if call.flags.config else None
    try:
        named = named_operator(context=call.flags.context, config=config, url=call.flags.url)
    except ConfigurationError:
        # Where the context is wrong, the command finds nothing to work on and says so.
        return
    if not named:
        return
    with contextlib.suppress(Unreachable, ConfigurationError):
        asyncio.run(admit(call))
    raise RoleForbidden(
        f"mas {call.command.name} is for the owner of the gateway's keys, and an operator was named",
        hint=(f"unset {VARIABLE}", "mas help operators"),
    )


def _asks_audit(command: Command) -> bool:
    """Whether a command reads audit records, which is itself recorded."""
    is_question = command.name.startswith("audit ") or command.name in _AUDIT_READERS
    return is_question and command.impact == "read"
