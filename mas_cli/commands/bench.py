"""`mas bench`: measure a running system, with everything on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.progress import Progress
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from mas_core.ops.bench.budget import Budget
    from mas_core.ops.bench.load import Load
    from mas_core.ops.system import System

    class Result(DataclassInstance, Protocol):
        """What every measurement gives."""

        @property
        def is_complete(self) -> bool:
            """Whether everything happened that should."""

    Measuring = Callable[[System, Callable[[int], None]], Coroutine[object, object, Result]]

DEFAULT_COUNT = 10_000

Agents = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Pairs of sender and receiver.")]
Size = Annotated[int, typer.Option(metavar="BYTES", min=1, help="Size of each payload, about.")]
Count = Annotated[int, typer.Option(metavar="N", min=0, help="How many; without --for 10,000.")]
For = Annotated[str, typer.Option("--for", metavar="DUR", help="How long, such as 10s.")]
Rate = Annotated[float, typer.Option(metavar="N", min=0, help="How many a second; 0 for as many as go.")]
Concurrency = Annotated[int, typer.Option(metavar="N", min=1, help="How many may be under way at once.")]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="FIGURE<BOUND", help="Exit code 1 beyond it: p99<5ms; repeatable."),
]

Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the times as bars into this SVG file too.")
]

_TIMES = tuple(Column(name, kind="number") for name in ("p50_ms", "p95_ms", "p99_ms"))
_RATE = Column("rate_per_s", header="msg/s", kind="number")
_GATEWAY = Column("gateway_cpu_us_per_message", header="gateway us/msg", kind="number")
_CPU = (_GATEWAY, Column("server_cpu_us_per_message", header="server us/msg", kind="number"))
_SEND = (
    Column("handled", header="got"),
    Column("sent", header="expected"),
    *(Column(name) for name in ("refused", "lost", "duplicated")),
    _RATE,
    *_TIMES,
    *_CPU,
)
_REQUEST = (
    Column("answered", header="got"),
    Column("sent", header="expected"),
    *(Column(name) for name in ("wrong", "failed", "duplicated")),
    _RATE,
    *_TIMES,
    *_CPU,
)
_DISCOVER = (
    Column("answered", header="got"),
    Column("sent", header="expected"),
    *(Column(name) for name in ("wrong", "failed")),
    _RATE,
    *_TIMES,
    *_CPU,
)
_DLP = (
    Column("caught"),
    Column("sensitive", header="expected"),
    *(Column(name) for name in ("missed", "false_alarms", "sent", "failed")),
    _RATE,
    *_TIMES,
    _GATEWAY,
)
_POLICY = (
    Column("turned", header="got"),
    Column("expected"),
    Column("late"),
    Column("within_200ms_percent", header="within 200 ms, %", kind="number"),
    *_TIMES,
    *(Column(name, kind="number") for name in ("max_ms", "change_p50_ms")),
)


def send(
    call: Invocation,
    *,
    agents: Agents = 1,
    size: Size = 300,
    count: Count = 0,
    duration: For = "",
    rate: Rate = 0,
    concurrency: Concurrency = 1024,
    budget: Budgets = None,
    plot: Plot = None,
) -> ExitCode:
    """Send messages through the gateway to agents made for it, and count and time every one.

    Times are from `send` until the handler has started and the receipt is back. All stages are on; agents,
    rules and limits are made for the run and removed after it. Exit code 1 when messages were lost, handled
    twice or refused, or when a budget is missed.
    """

    async def work(system: System, on_progress: Callable[[int], None]) -> Result:
        from mas_core.ops.bench import send as bench

        load = _load(count, duration, size, rate, concurrency)
        return await bench.send(system, load, agents=agents, on_progress=on_progress)

    return _measured(call, work, count or (0 if duration else DEFAULT_COUNT), "messages", _SEND, budget, plot)


def request(
    call: Invocation,
    *,
    agents: Agents = 1,
    size: Size = 300,
    count: Count = 0,
    duration: For = "",
    rate: Rate = 0,
    concurrency: Concurrency = 64,
    budget: Budgets = None,
    plot: Plot = None,
) -> ExitCode:
    """Ask agents that answer at once, and check and time every answer.

    Exit code 1 when a question got no answer or that of another, was handled twice, or a budget is missed.
    """

    async def work(system: System, on_progress: Callable[[int], None]) -> Result:
        from mas_core.ops.bench import request as bench

        load = _load(count, duration, size, rate, concurrency)
        return await bench.request(system, load, agents=agents, on_progress=on_progress)

    return _measured(
        call, work, count or (0 if duration else DEFAULT_COUNT), "questions", _REQUEST, budget, plot
    )


def discover(
    call: Invocation,
    *,
    agents: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Agents that run.")] = 10,
    count: Annotated[int, typer.Option(metavar="N", min=0, help="How many; without --for 1,000.")] = 0,
    duration: For = "",
    rate: Rate = 0,
    concurrency: Concurrency = 1,
    budget: Budgets = None,
    plot: Plot = None,
) -> ExitCode:
    """Run agents, ten to a capability, ask for one capability after the other, and check what is found."""

    async def work(system: System, on_progress: Callable[[int], None]) -> Result:
        from mas_core.ops.bench import discover as bench

        load = _load(count or (0 if duration else 1000), duration, 300, rate, concurrency)
        return await bench.discover(system, load, agents=agents, on_progress=on_progress)

    return _measured(call, work, count or (0 if duration else 1000), "questions", _DISCOVER, budget, plot)


def dlp(
    call: Invocation,
    *,
    agents: Agents = 1,
    size: Size = 300,
    count: Count = 0,
    duration: For = "",
    rate: Rate = 0,
    concurrency: Concurrency = 1024,
    budget: Budgets = None,
    plot: Plot = None,
) -> ExitCode:
    """Send ordinary messages and, one in ten, one with the number of a card, and count what is caught.

    Exit code 1 when one with a card number passed without a finding, another had one, or a budget is missed.
    """

    async def work(system: System, on_progress: Callable[[int], None]) -> Result:
        from mas_core.ops.bench import dlp as bench

        load = _load(count, duration, size, rate, concurrency)
        return await bench.dlp(system, load, agents=agents, on_progress=on_progress)

    return _measured(call, work, count or (0 if duration else DEFAULT_COUNT), "messages", _DLP, budget, plot)


def policy(
    call: Invocation,
    *,
    size: Size = 300,
    count: Annotated[int, typer.Option(metavar="N", min=0, help="Changes; without --for 20.")] = 0,
    duration: For = "",
    budget: Budgets = None,
    plot: Plot = None,
) -> ExitCode:
    """Forbid and allow again, and time from each change to the first decision under it in every partition.

    Times are from the start of the change. Exit code 1 when a decision under the old policy came after a
    change had returned, a decision never turned, or a budget is missed.
    """

    async def work(system: System, on_progress: Callable[[int], None]) -> Result:
        from mas_core.ops.bench import policy as bench

        changes = count or (0 if duration else 20)
        seconds = _seconds(duration)
        return await bench.policy(
            system, changes=changes, seconds=seconds, size=size, on_progress=on_progress
        )

    return _measured(call, work, count or (0 if duration else 20), "changes", _POLICY, budget, plot)


def _measured(
    call: Invocation,
    measure: Measuring,
    total: int,
    unit: str,
    columns: Sequence[Column],
    budgets: Sequence[str] | None,
    plot: Path | None,
) -> ExitCode:
    from mas_core.ops.bench.budget import parse_budget

    parsed = [parse_budget(text) for text in budgets or ()]

    async def work(lifetime: Lifetime) -> bool:
        async with open_system(call) as system:
            with Progress(call.talk, total, unit) as progress:
                result = await measure(system, progress)
        lifetime.is_ready = True
        figures = asdict(result)
        missed = [budget for budget in parsed if not budget.is_kept(figures)]
        call.out.record(columns, figures)
        if plot is not None:
            _draw(call, plot, figures, parsed)
        for budget in missed:
            name = budget.field_of(figures)
            call.talk.say(f"budget missed: {budget.text}, and {name} is {figures[name]}")
        return result.is_complete and not missed

    return ExitCode.OK if run_until_stopped(call, work, call.flags.timeout_seconds()) else ExitCode.NO


def _draw(call: Invocation, path: Path, figures: dict[str, object], budgets: Sequence[Budget]) -> None:
    from mas_cli.output.bar_plot import bars_svg, time_bars

    done = figures.get("handled", figures.get("answered", figures.get("sent", 0)))
    told = f"{done:,} in {figures.get('seconds', '-')} s, {figures.get('rate_per_s', '-')} a second"
    try:
        path.write_text(bars_svg(f"mas {call.command.name}", told, time_bars(figures, budgets)))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="--plot bench.svg") from None
    call.talk.say(f"drawn to {path}")


def _load(count: int, duration: str, size: int, rate: float, concurrency: int) -> Load:
    from mas_core.ops.bench.load import Load

    seconds = _seconds(duration)
    return Load(
        count=count or (0 if seconds else DEFAULT_COUNT),
        seconds=seconds,
        size=size,
        rate=rate,
        concurrency=concurrency,
    )


def _seconds(duration: str) -> float:
    if not duration:
        return 0.0
    seconds = parse_duration(duration, "--for")
    if seconds <= 0:
        raise UsageError("--for must be above 0", hint="--for 10s")
    return seconds
