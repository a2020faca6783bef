"""`mas send`, `mas request` and `mas discover`: messages as one agent of the system."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.line_feed import in_background, own_stream
from mas_cli.input.payload import PayloadSource, payload_lines, payloads
from mas_cli.input.selectors import matches_all, parse_selectors
from mas_cli.input.time_ranges import parse_coming
from mas_cli.invocation import Invocation
from mas_cli.output.agent_logs import logs_named
from mas_cli.output.columns import Column, plain
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.refusals import say_plainly
from mas_cli.output.rehearsals import show_rehearsal
from mas_cli.output.sent_rows import SENT_COLUMNS, SENT_MANY_COLUMNS, Tally, sent_row
from mas_core.errors import Forbidden, InvalidPayload, MasError, UsageError

REQUEST_TIMEOUT = 30.0
OPERATOR = "operator"

Target = Annotated[str, typer.Argument(metavar="TARGET", help="Id of the agent.")]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="Type of the message, such as math.add.")]
Argument = Annotated[
    str | None,
    typer.Argument(metavar="PAYLOAD", help="JSON, @file, or - for standard input; {} if left out."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("-F", "--field", metavar="K=V", help="A string for the payload; repeatable."),
]
JsonFields = Annotated[
    list[str] | None,
    typer.Option("-J", "--json-field", metavar="K:=JSON", help="A JSON value for the payload; repeatable."),
]
As = Annotated[
    str, typer.Option("--as", metavar="AGENT", help="The agent to act as; its token has to be at hand.")
]
Encrypt = Annotated[
    bool, typer.Option("--encrypt", help="So that only the target can read it, where the policy lets it.")
]
Priority = Annotated[
    str,
    typer.Option(metavar="critical|high|normal|low|bulk", help="How urgent it is; also 0 to 10."),
]

Delivery = Annotated[
    str,
    typer.Option(
        metavar="at_most_once|at_least_once|exactly_once",
        help="What counts more when something fails; what the target is set to, if left out.",
    ),
]

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Deliver nothing, and tell what each stage of the gateway would say."),
]
_FOUND = (
    Column("id", style=lambda _: "name"),
    Column("capabilities"),
    Column("instances", kind="number"),
    Column("load", kind="number"),
    Column("metadata", flexible=True),
)


async def send(
    call: Invocation,
    target: Target,
    message_type: Type,
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    priority: Priority = "normal",
    ttl: Annotated[str, typer.Option(metavar="DUR", help="After this long it is of no use.")] = "1h",
    message_id: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="An id of your own: sent again, it has no second effect."),
    ] = "",
    lines: Annotated[bool, typer.Option("--lines", help="Every line is a message of its own.")] = False,
    count: Annotated[int, typer.Option(metavar="N", help="Send it so many times.")] = 1,
    rate: Annotated[
        float, typer.Option(metavar="N", help="At most so many a second; as fast as possible if left out.")
    ] = 0,
    template: Annotated[
        bool, typer.Option("--template", help="Fill in {{count}}, {{id}}, {{now}} and {{random 8}}.")
    ] = False,
    encrypt: Encrypt = False,
    delivery: Delivery = "",
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="When to deliver it: a date and time, 18:30, tomorrow."),
    ] = "",
    after: Annotated[str, typer.Option("--after", metavar="DUR", help="After how long to deliver it.")] = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Send messages and wait until the gateway has taken them.

    A receipt means that the message is safely on its way, not that it was handled. Of many messages the ones
    that fail are listed with the reason, and the exit code is 8. What is sent for later is judged again when it is
    due, and --ttl counts from then on.
    """
    if at and after:
        raise UsageError("--at and --after exclude each other")
    deliver_at = parse_coming(at, "--at", utc=call.flags.utc) if at else None
    deliver_after = parse_duration(after, "--after") if after else 0.0
    if after and deliver_after <= 0:
        raise UsageError("--after is more than 0 s")
    seconds = parse_duration(ttl, "--ttl")
    if count < 1 or rate < 0:
        raise UsageError("--count is at least 1, and --rate is not negative")
    is_batch = lines or count > 1
    if dry_run and is_batch:
        raise UsageError("--dry-run tries one message; leave --lines and --count out")
    if is_batch and message_id:
        raise UsageError("--id is the id of one message; with --lines or --count every message has its own")
    source = PayloadSource(payload, fields or (), json_fields or (), lines=lines, template=template)
    if not is_batch:
        (data,) = payloads(source, call.stdin, before_stdin=_announced(call))
        async with open_system(call) as system:
            from mas_core.ops import messages

            if dry_run:
                return show_rehearsal(
                    call,
                    await messages.rehearse(
                        system,
                        target,
                        message_type,
                        data,
                        as_agent=as_agent,
                        priority=priority,
                        ttl=seconds,
                        encrypt=encrypt,
                        deliver_at=deliver_at,
                        deliver_after=deliver_after,
                    ),
                )
            with _refusals_in_words("send"):
                receipt = await messages.send(
                    system,
                    target,
                    message_type,
                    data,
                    as_agent=as_agent,
                    priority=priority,
                    ttl=seconds,
                    message_id=message_id,
                    encrypt=encrypt,
                    delivery=delivery,
                    deliver_at=deliver_at,
                    deliver_after=deliver_after,
                )
        call.out.record(SENT_COLUMNS, sent_row(receipt, target, message_type))
        if receipt.reason:
            call.talk.say(receipt.reason)
        if receipt.deliver_at:
            call.talk.say(f"until then it can be stopped: mas schedule cancel {receipt.message_id}")
        if receipt.approval:
            call.talk.say(f"it waits for somebody's approval: mas approval get {receipt.approval}")
        return ExitCode.OK

    items = _batch(call, source, count)
    tally = Tally(call, target, message_type)
    async with open_system(call) as system:
        from mas_core.ops import messages

        outcomes = messages.send_all(
            system,
            target,
            message_type,
            items,
            as_agent=as_agent,
            priority=priority,
            ttl=seconds,
            rate=rate,
            encrypt=encrypt,
            delivery=delivery,
            deliver_at=deliver_at,
            deliver_after=deliver_after,
        )
        await call.out.listed(SENT_MANY_COLUMNS, tally.rows(outcomes))
    tally.conclude()
    return ExitCode.OK


async def request(
    call: Invocation,
    target: Target,
    message_type: Type,
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    priority: Priority = "normal",
    raw: Annotated[
        bool, typer.Option("--raw", help="Of a reply with one field, only its value, text without quotes.")
    ] = False,
    encrypt: Encrypt = False,
    delivery: Delivery = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Ask an agent and print the payload of its reply.

    --timeout is how long to wait for the reply, 30s if left out.
    """
    given = call.flags.timeout_seconds()
    seconds = REQUEST_TIMEOUT if given is None else given
    source = PayloadSource(payload, fields or (), json_fields or ())
    (data,) = payloads(source, call.stdin, before_stdin=_announced(call))
    async with open_system(call) as system:
        from mas_core.ops import messages

        if dry_run:
            return show_rehearsal(
                call,
                await messages.rehearse(
                    system,
                    target,
                    message_type,
                    data,
                    as_agent=as_agent,
                    priority=priority,
                    ttl=seconds,
                    expects_reply=True,
                    encrypt=encrypt,
                ),
            )
        async with messages.connected(system, as_agent) as client:
            started = time.perf_counter()
            with _refusals_in_words("request"), logs_named(system.target.project, target):
                reply = await client.request(
                    target,
                    message_type,
                    data,
                    priority=priority,
                    timeout=seconds,
                    encrypt=encrypt,
                    delivery=delivery,
                )
            took = time.perf_counter() - started
    values = list(reply.data.values())
    if raw and len(values) == 1:
        value = values[0]
        if value is None or isinstance(value, bool | dict | list):
            call.out.document(value)
        else:
            call.out.raw(plain(value))
    else:
        call.out.document(reply.data)
    call.talk.count(f"{target} answered in {took * 1000:.1f} ms")
    return ExitCode.OK


async def discover(
    call: Invocation,
    capabilities: Annotated[
        list[str] | None,
        typer.Argument(metavar="CAPABILITY", help="Agents that can do this; all agents if left out."),
    ] = None,
    *,
    match_all: Annotated[
        bool, typer.Option("--all-of/--any", help="Agents with all of the capabilities, or with any.")
    ] = False,
    selector: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="Only with this metadata: k=v, k!=v, k, !k; repeatable."),
    ] = None,
    as_agent: As = OPERATOR,
    require: Annotated[int, typer.Option(metavar="N", help="Exit with 1 if there are fewer.")] = 0,
) -> ExitCode:
    """List running agents that one may talk to."""
    selectors = parse_selectors(selector or [])
    async with open_system(call) as system:
        from mas_core.ops import messages

        found = await messages.discover(system, capabilities or (), as_agent=as_agent, match_all=match_all)
    rows = [row for row in found if matches_all(selectors, _metadata(row))]
    call.out.records(_FOUND, rows)
    call.talk.count(f"{len(rows)} agents")
    if len(rows) < require:
        call.talk.warn(f"{len(rows)} agents, and {require} are required")
        return ExitCode.NO
    return ExitCode.OK


def _batch(
    call: Invocation, source: PayloadSource, count: int
) -> AsyncIterator[dict[str, object] | MasError]:
    """The payloads of a batch; what can be found wrong before anything is sent is raised here."""
    if source.lines:
        if count != 1:
            raise UsageError("--lines and --count exclude each other")
        if source.argument is None:
            raise UsageError("--lines needs a source", hint="- for standard input, or @file.jsonl")
        if source.argument == "-":
            lines = payload_lines(source, own_stream(call.stdin), before_stdin=_announced(call))
            return in_background(lines)
        return _as_they_are(payload_lines(source, call.stdin))
    repeated = payloads(source, call.stdin, count=count, before_stdin=_announced(call))
    first = next(repeated)

    def again() -> Iterator[dict[str, object]]:
        yield first
        yield from repeated

    return _as_they_are(again())


async def _as_they_are(
    items: Iterator[dict[str, object]] | Iterator[dict[str, object] | InvalidPayload],
) -> AsyncIterator[dict[str, object] | MasError]:
    for item in items:
        yield item


def _announced(call: Invocation) -> Callable[[], None]:
    def announce() -> None:
        if call.stdin.isatty():
            call.talk.say("reading payload from stdin, end with Ctrl-D")

    return announce


@contextmanager
def _refusals_in_words(action: str) -> Iterator[None]:
    try:
        yield
    except Forbidden as error:
        say_plainly(error, action)
        raise


def _metadata(row: dict[str, object]) -> dict[str, object]:
    found = row.get("metadata")
    return found if isinstance(found, dict) else {}
