"""`mas policy`: switches of the policy, cases, a replay of what was recorded, and a shadow policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.rule_flags import DryRun, PolicyPath, required_file
from mas_cli.input.time_ranges import parse_range
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.progress import Progress
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.policy_trial import Case, CaseResult


def _switch_style(value: object) -> Style:
    return "good" if value == "on" else "warn"


def _result_style(value: object) -> Style:
    return "good" if value == "ok" else "bad"


_FEATURES = (
    Column("feature", style=lambda _: "name"),
    Column("value", style=_switch_style),
    Column("set_by", header="set by"),
)
_CASES = (
    Column("case", kind="number"),
    Column("result", style=_result_style),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("action"),
    Column("expected"),
    Column("decision"),
    Column("rule"),
    Column("reason", flexible=True),
)
_OUTCOMES = (
    Column("count", kind="number"),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("recorded"),
    Column("simulated"),
    Column("rule"),
    Column("reason", flexible=True),
)
_DIFFERENCES = (
    Column("count", kind="number"),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("present"),
    Column("shadow"),
    Column("rule"),
)
_SHADOW = (
    Column("shadow", style=lambda _: "name"),
    Column("since", kind="time"),
    Column("rules", kind="number"),
)


async def features(call: Invocation) -> ExitCode:
    """Show which parts of the policy are on."""
    async with open_system(call) as system:
        from mas_core.ops import rbac

        document = await rbac.load(system)
    call.out.records(_FEATURES, _feature_rows(document))
    return ExitCode.OK


async def set_feature(
    call: Invocation,
    name: Annotated[str, typer.Argument(metavar="FEATURE", help="As in mas policy features.")],
    value: Annotated[
        str,
        typer.Argument(metavar="on|off|file", help="file: as the project's files say."),
    ],
    *,
    dry_run: DryRun = False,
) -> ExitCode:
    """Switch a part of the policy on or off; in force when it returns, and kept by mas up.

    Authentication, the guard against replays, blocks and the audit cannot be switched off.
    """
    values = {"on": True, "off": False, "file": None}
    if value not in values:
        raise UsageError(f"{value!r} is neither on nor off nor file", hint=f"mas policy set {name} on")
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        document = await policy_people.switch(system, name, values[value], dry_run=dry_run)
        stays = values[value] is None and system.target.project is None
    call.out.records(_FEATURES, [row for row in _feature_rows(document) if row["feature"] == name])
    if stays:
        call.talk.warn("the files are not at hand: it stays until mas up loads them")
    if not dry_run:
        call.talk.say("see who changed it with: mas rbac history")
    return ExitCode.OK


async def try_cases(
    call: Invocation,
    *,
    file: Annotated[str, typer.Option("--file", "-f", metavar="CASES", help="A file of cases.")] = "",
    policy: Annotated[
        str, typer.Option("--policy", metavar="FILE", help="Try this policy file; no server is needed.")
    ] = "",
) -> ExitCode:
    """Compare what the policy says about cases with what they expect; exit code 1 when one differs.

    A case has from, to and expect, and may have type, action, payload and rule. Without --policy the policy
    in force is tried. Limits and inboxes are not asked.
    """
    import time

    from mas_core.ops import policy_files, policy_trial

    cases = policy_trial.load_cases(required_file(file))
    if policy:
        document, now = policy_files.document_of(Path(policy)), int(time.time() * 1000)
    else:
        async with open_system(call) as system:
            from mas_core.ops import rbac

            document = await rbac.load(system)
            now = await system.store.connection.time_ms()
    results = policy_trial.try_cases(document, cases, now)
    call.out.records(_CASES, [_case_row(number, result) for number, result in enumerate(results, 1)])
    wrong = sum(not result.is_as_expected for result in results)
    call.talk.say(f"{len(results) - wrong} of {len(results)} cases are as expected")
    return ExitCode.NO if wrong else ExitCode.OK


async def simulate(
    call: Invocation,
    *,
    file: PolicyPath = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="From then on: 24h, yesterday, a date.")] = "24h",
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until then; now if left out.")] = None,
) -> ExitCode:
    """Put recorded messages through another policy; exit code 1 when it would decide otherwise.

    Access rules, blocks and limits are asked again. A record holds neither the payload nor whether the message
    was a request; where that matters the answer is unknown.
    """
    path = required_file(file)
    span = parse_range(since, until, utc=call.flags.utc)
    from mas_core.ops import policy_files, policy_simulation

    document = policy_files.document_of(path)
    async with open_system(call) as system:
        with Progress(call.talk, 0, "messages") as progress:
            found = await policy_simulation.simulate(
                system, document, since=span.since or 0, until=span.until or 0, told=progress
            )
    call.out.records(
        _OUTCOMES,
        [
            {
                "count": item.count,
                "from": item.sender,
                "to": item.target,
                "type": item.message_type,
                "recorded": item.recorded,
                "simulated": item.simulated,
                "rule": item.rule or None,
                "reason": item.reason or None,
            }
            for item in found.outcomes
        ],
    )
    call.talk.say(
        f"{found.messages} messages: {found.same} the same, {found.changed} changed, {found.unknown} unknown"
    )
    return ExitCode.NO if found.changed else ExitCode.OK


async def shadow_set(call: Invocation, *, file: PolicyPath = "") -> ExitCode:
    """Try a policy beside the one in force: what it would decide otherwise is recorded, and changes nothing.

    Access rules and blocks are compared, message by message, at every gateway.
    """
    path = required_file(file)
    async with open_system(call) as system:
        from mas_core.ops import policy_trial

        document = await policy_trial.set_shadow(system, path)
    shadow = document.shadow
    call.out.record(
        _SHADOW,
        {
            "shadow": path.name,
            "since": moment(shadow.changed_at if shadow else 0),
            "rules": len(shadow.rules) if shadow else 0,
        },
    )
    call.talk.say("look with: mas policy shadow report; end it with: mas policy shadow clear")
    return ExitCode.OK


async def shadow_clear(call: Invocation) -> ExitCode:
    """No longer try a policy beside the one in force; what was recorded stays in the audit."""
    async with open_system(call) as system:
        from mas_core.ops import policy_trial

        had = await policy_trial.clear_shadow(system)
    call.out.record((Column("cleared"),), {"cleared": had})
    if not had:
        call.talk.say("there was none")
    return ExitCode.OK


async def shadow_report(
    call: Invocation,
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on; since it was set if left out.")
    ] = None,
) -> ExitCode:
    """Tell what the shadow policy would have decided otherwise; exit code 1 when there is something."""
    span = parse_range(since, None, utc=call.flags.utc)
    async with open_system(call) as system:
        from mas_core.ops import policy_trial

        found = await policy_trial.shadow_report(system, since=span.since or 0)
    call.out.records(
        _DIFFERENCES,
        [
            {
                "count": item.count,
                "from": item.sender,
                "to": item.target,
                "type": item.message_type,
                "present": item.present,
                "shadow": item.shadow,
                "rule": item.rule or None,
            }
            for item in (found.differences if found else ())
        ],
    )
    if found is None:
        call.talk.say("there is no shadow policy; try one with: mas policy shadow set --file FILE")
        return ExitCode.OK
    total = sum(item.count for item in found.differences)
    call.talk.say(f"{total} of {found.messages} messages would have been decided otherwise")
    return ExitCode.NO if total else ExitCode.OK


def _feature_rows(document: PolicyDocument) -> list[dict[str, object]]:
    from mas_core.ops.policy_people import shown_features

    return [
        {"feature": name, "value": "on" if value else "off", "set_by": "command" if by_hand else "file"}
        for name, value, by_hand in shown_features(document)
    ]


def _case_row(number: int, result: CaseResult) -> dict[str, object]:
    case: Case = result.case
    return {
        "case": number,
        "result": "ok" if result.is_as_expected else "differs",
        "from": case.sender,
        "to": case.target,
        "type": case.type,
        "action": case.action,
        "expected": case.expect if case.rule is None else f"{case.expect} by {case.rule}",
        "decision": str(result.decision),
        "rule": result.rule or None,
        "reason": result.reason or None,
    }
