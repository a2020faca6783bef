"""`mas rbac`: who may send what to whom."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.rule_flags import (
    AskedAction,
    Both,
    DryRun,
    Expires,
    MessageType,
    Reason,
    RuleAction,
    Sender,
    Target,
    Targets,
    TypeGlob,
)
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.explanations import answer, explained
from mas_cli.output.rule_rows import RULE_COLUMNS, rule_row
from mas_cli.rule_changes import CHANGE_COLUMNS, added_rules
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.model.policy import Effect, Rule
    from mas_core.ops.system import System


def _faded(state: object) -> Style | None:
    return "dim" if state == "ended" else None


_LISTED = (*RULE_COLUMNS, Column("state", style=_faded, usual="in force"))


async def allow(
    call: Invocation,
    sender: Sender,
    targets: Targets,
    *,
    message_type: TypeGlob = "*",
    action: RuleAction = "*",
    both: Both = False,
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let an agent send to others; in force when it returns.

    Nothing is allowed without a rule, and a rule that denies wins over all that allow.
    """
    await _add(call, "allow", sender, targets, message_type, action, both, expires, reason, dry_run)
    return ExitCode.OK


async def deny(
    call: Invocation,
    sender: Sender,
    targets: Targets,
    *,
    message_type: TypeGlob = "*",
    action: RuleAction = "*",
    both: Both = False,
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Forbid an agent to send to others, whatever else is allowed."""
    await _add(call, "deny", sender, targets, message_type, action, both, expires, reason, dry_run)
    return ExitCode.OK


async def hold(
    call: Invocation,
    sender: Sender,
    targets: Targets,
    *,
    message_type: TypeGlob = "*",
    action: RuleAction = "*",
    both: Both = False,
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let an agent send to others, each message only once a person has approved it.

    A rule that holds wins over all that allow, and needs none beside it; one that denies wins over both.
    """
    await _add(call, "hold", sender, targets, message_type, action, both, expires, reason, dry_run)
    return ExitCode.OK


async def revoke(
    call: Invocation,
    rule_ids: Annotated[list[str], typer.Argument(metavar="RULE", help="Ids, as in mas rbac list.")],
    *,
    dry_run: DryRun = False,
) -> ExitCode:
    """Remove rules; all of them or, if one does not exist, none."""
    async with open_system(call) as system:
        from mas_core.ops import rbac

        removed = await rbac.revoke(system, rule_ids, dry_run=dry_run)
    change = "would remove" if dry_run else "removed"
    call.out.records(CHANGE_COLUMNS, [{**rule_row(rule), "change": change} for rule in removed])
    for rule in removed if not dry_run else ():
        call.talk.say(f"undo with: {_command_of(rule)}")
        if rule.source.startswith("file:"):
            call.talk.warn(
                f"{rule.id} stands in {rule.source.removeprefix('file:')}: the next mas up brings it back"
            )
    return ExitCode.OK


async def list_rules(
    call: Invocation,
    *,
    agent: Annotated[
        str, typer.Option(metavar="AGENT", help="Only rules that count for this agent, by name, role or *.")
    ] = "",
    effective: Annotated[
        bool, typer.Option("--effective", help="Only rules that count now and that no other takes back.")
    ] = False,
) -> ExitCode:
    """List the rules, and what trust and blocks stand for; what has ended is marked.

    How often a rule decided is not kept with it; mas audit list --rule RULE --since 24h tells.
    """
    async with open_system(call) as system:
        from mas_core.ops import rbac
        from mas_core.ops.agents import require_agents

        if agent:
            await require_agents(system, agent)
        document = await rbac.load(system)
        now = await system.store.connection.time_ms()
    rules = rbac.rules_for(document, agent, effective_at=now if effective else 0)
    call.out.records(_LISTED, [{**rule_row(rule), "state": _state(rule, now)} for rule in rules])
    if document.features.rbac:
        call.talk.count(f"{len(rules)} rules, revision {document.revision}; what no rule allows is denied")
    else:
        call.talk.warn(
            "the access rules are switched off: everybody but blocked agents may send to everybody"
        )
    return ExitCode.OK


async def check(
    call: Invocation,
    sender: Sender,
    target: Target,
    message_type: MessageType = "message",
    *,
    action: AskedAction = "",
) -> ExitCode:
    """Say yes or no: may this agent send that?

    What a rule holds for a person is `held`, and no yes either.
    """
    asked = _action(action, target, message_type)
    async with open_system(call) as system:
        from mas_core.ops import rbac

        decision = await rbac.check(system, sender, target, message_type, asked)
    call.out.text(
        answer(decision),
        {
            "allowed": decision.allowed,
            "held": decision.held,
            "from": sender,
            "to": target,
            "type": message_type,
            "action": asked,
            "rule": decision.rule_id or None,
            "reason": decision.reason,
        },
    )
    call.talk.say(decision.reason)
    return ExitCode.OK if decision.allowed else ExitCode.NO


async def explain(
    call: Invocation,
    sender: Sender,
    target: Target,
    message_type: MessageType = "message",
    *,
    action: AskedAction = "",
) -> ExitCode:
    """Tell which rule decides, what comes close, and what would change it."""
    asked = _action(action, target, message_type)
    async with open_system(call) as system:
        from mas_core.ops import rbac

        found = await rbac.explain(system, sender, target, message_type, asked)
    call.out.text(
        explained(found),
        {
            "allowed": found.decision.allowed,
            "held": found.decision.held,
            "from": sender,
            "to": target,
            "type": message_type,
            "action": asked,
            "reason": found.decision.reason,
            "rule": None if found.rule is None else rule_row(found.rule),
            "near_misses": [
                {"rule": rule_row(miss.rule), "differs": miss.differs, "detail": miss.detail}
                for miss in found.near_misses
            ],
            "fix": list(found.fix),
        },
    )
    return ExitCode.OK if found.decision.allowed else ExitCode.NO


def _state(rule: Rule, now: int) -> str:
    return "ended" if 0 < rule.expires <= now else "in force"


async def _add(
    call: Invocation,
    effect: Effect,
    sender: str,
    targets: list[str],
    message_type: str,
    action: str,
    both: bool,
    expires: str | None,
    reason: str,
    dry_run: bool,
) -> None:
    seconds = 0 if expires is None else parse_duration(expires, "--expires")

    async def add(system: System) -> list[Rule]:
        from mas_core.ops import rbac

        return await rbac.add_rules(
            system,
            effect,
            sender,
            targets,
            message_type=message_type,
            action=action,
            both=both,
            expires_in=seconds,
            reason=reason,
            dry_run=dry_run,
        )

    async with open_system(call) as system:
        await added_rules(call, system, add, dry_run=dry_run)


def _action(text: str, target: str, message_type: str) -> str:
    from mas_core.ops import rbac

    actions = rbac.actions_on(target)
    if text and text not in actions:
        raise UsageError(f"--action: {text!r} is none of {', '.join(actions)}")
    return text or rbac.default_action(target, message_type)


def _command_of(rule: Rule) -> str:
    """The command that makes this rule."""
    words = ["mas", "rbac", rule.effect, rule.sender, rule.target]
    words += ["--type", rule.type] if rule.type != "*" else []
    words += ["--action", rule.action] if rule.action != "*" else []
    words += ["--reason", rule.reason] if rule.reason else []
    return shlex.join(words)
