"""`mas task`: have things done, and see what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.durations import parse_duration
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import Argument, As, Fields, JsonFields, Priority
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record, with_rest
from mas_cli.output.coordination_rows import DEFAULT_QUEUE as DEFAULT
from mas_cli.output.coordination_rows import TASK_COLUMNS, task_row, task_style
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_core.errors import MasError, UsageError
from mas_core.ops.system import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mas_core.ops.tasks import Supervisor, Task, TaskStatus

SHOWN = 100

Queue = Annotated[str, typer.Option(metavar="NAME", help="The queue of the tasks.")]
OnlyQueue = Annotated[str, typer.Option("--queue", metavar="NAME", help="Only this queue.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")]
TaskIds = Annotated[list[str], typer.Argument(metavar="TASK", help="Ids of tasks.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; whoever waits for the task is told.")]


_CHANGED = (
    Column("id"),
    Column("status", style=task_style),
    Column("error.message", header="error", flexible=True),
)
_WORKERS = (
    Column("agent", style=lambda _: "name"),
    Column("running", kind="number"),
    Column("done", kind="number"),
    Column("failed", kind="number"),
    Column("busy", kind="duration"),
)
_STATISTICS = (
    Column("waiting", kind="number"),
    Column("running", kind="number"),
    Column("done", kind="number"),
    Column("failed", kind="number"),
    Column("cancelled", kind="number"),
    Column("completion_rate", header="completion", kind="number"),
    Column("mean_wait", kind="duration"),
    Column("mean_execution", kind="duration"),
)


async def assign(
    call: Invocation,
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="Which handler does it.")],
    parameters: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    queue: Queue = DEFAULT,
    to: Annotated[str, typer.Option("--to", metavar="AGENT", help="The only one who may take it.")] = "",
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", metavar="NAME", help="What its worker has to have; repeatable."),
    ] = None,
    priority: Priority = "normal",
    deadline: Annotated[
        str, typer.Option("--deadline", metavar="DUR", help="After so long it has failed.")
    ] = "5m",
    after: Annotated[
        list[str] | None,
        typer.Option("--after", metavar="TASK", help="A task that has to be done before; repeatable."),
    ] = None,
    attempts: Annotated[int, typer.Option(metavar="N", help="How often it is begun at most.")] = 3,
    description: Annotated[str, typer.Option(metavar="TEXT", help="For people.")] = "",
    task_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="An id of your own: assigned again, it is there once.")
    ] = "",
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="DUR", help="Wait so long for what becomes of it.")
    ] = None,
) -> ExitCode:
    """Have something done by whoever can; it is stored when this returns.

    A worker takes it when it has room. With --wait the result goes to standard output.
    """
    (data,) = payloads(
        PayloadSource(parameters, fields or (), json_fields or ()), call.stdin, before_stdin=announced(call)
    )
    timeout, wait_s = parse_duration(deadline, "--deadline"), parse_duration(wait or "0s", "--wait")
    async with open_system(call) as system:
        from mas_core.ops import tasks

        async with tasks.supervisor(system, queue, as_agent) as boss:
            assigned = await boss.assign(
                task_type,
                data,
                task_id=task_id,
                description=description,
                to=to,
                capabilities=capability or (),
                priority=priority,
                timeout=timeout,
                depends_on=after or (),
                max_attempts=attempts,
            )
            if wait is not None:
                call.talk.say(f"assigned as {assigned}")
                return _ended(call, await boss.wait(assigned, wait_s))
            found = await boss.get(assigned)
    call.out.record(_CHANGED[:2], {"id": found.task_id, "status": found.status})
    call.talk.say(f"follow it with: mas task watch {found.task_id}{_queue_flag(queue)}")
    return ExitCode.OK


async def list_tasks(
    call: Invocation,
    *,
    queue: OnlyQueue = "",
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Only what this agent does or did.")] = "",
    status: Annotated[
        str, typer.Option(metavar="waiting|running|done|failed|cancelled", help="Only in this state.")
    ] = "",
    task_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="Only of this type.")] = "",
    since: Annotated[
        str | None, typer.Option(metavar="DUR", help="Only those assigned within this time.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many; 0 for all.")] = SHOWN,
) -> ExitCode:
    """List tasks that are open, or ended within the last hour, the newest last."""
    if status not in ("", "waiting", "running", "done", "failed", "cancelled"):
        raise UsageError(f"--status: {status!r} is no state of a task")
    within = 0.0 if since is None else parse_duration(since, "--since")
    async with open_system(call) as system:
        from mas_core.ops import tasks

        now = await system.store.connection.time_ms()
        found = await tasks.list_tasks(
            system,
            queue=queue,
            status=status,
            agent=agent,
            task_type=task_type,
            since_ms=now - int(within * 1000) if within else 0,
        )
    shown = found[-limit:] if limit > 0 else found
    call.out.records(TASK_COLUMNS, [task_row(task) for task in shown])
    if len(shown) < len(found):
        call.talk.warn(f"only {len(shown)} of {len(found)} are shown; --limit 0 shows all")
    return ExitCode.OK


async def get(call: Invocation, task_id: TaskId, *, queue: OnlyQueue = "") -> ExitCode:
    """Show a task with all its attempts; tasks that are over are kept for 30 days."""
    async with open_system(call) as system:
        from mas_core.ops import tasks

        record = _whole(await tasks.get_task(system, task_id, queue))
    call.out.record(with_rest(TASK_COLUMNS, record), record)
    return ExitCode.OK


async def watch(
    call: Invocation,
    task_id: TaskId,
    *,
    as_agent: As = OPERATOR,
    queue: Queue = DEFAULT,
    wait: Annotated[str | None, typer.Option("--wait", metavar="DUR", help="Give up after so long.")] = None,
) -> ExitCode:
    """Wait until a task is over, and print its result."""
    seconds = None if wait is None else parse_duration(wait, "--wait")
    async with open_system(call) as system:
        from mas_core.ops import tasks

        async with tasks.supervisor(system, queue, as_agent) as boss:
            return _ended(call, await boss.wait(task_id, seconds))


async def cancel(
    call: Invocation,
    task_ids: TaskIds,
    *,
    as_agent: As = OPERATOR,
    queue: Queue = DEFAULT,
    reason: Reason = "",
) -> ExitCode:
    """Cancel tasks; whoever works on one is stopped as soon as it is heard of."""
    return await _change(call, task_ids, as_agent, queue, lambda boss, task_id: boss.cancel(task_id, reason))


async def retry(
    call: Invocation, task_ids: TaskIds, *, as_agent: As = OPERATOR, queue: Queue = DEFAULT
) -> ExitCode:
    """Have tasks tried again that failed or were cancelled, with as many attempts as before."""
    return await _change(call, task_ids, as_agent, queue, lambda boss, task_id: boss.retry(task_id))


async def stats(call: Invocation, *, queue: OnlyQueue = "") -> ExitCode:
    """Show how many tasks end well, and how long they take, of those of the last hour."""
    async with open_system(call) as system:
        from mas_core.ops import tasks

        found = await tasks.statistics(system, queue)
    workers = [
        {
            "agent": agent,
            "running": worker.running,
            "done": worker.done,
            "failed": worker.failed,
            "busy": worker.busy_s,
        }
        for agent, worker in sorted(found.workers.items())
    ]
    record: Record = {
        "waiting": found.waiting,
        "running": found.running,
        "done": found.done,
        "failed": found.failed,
        "cancelled": found.cancelled,
        "completion_rate": found.completion_rate,
        "mean_wait": found.mean_wait_s,
        "mean_execution": found.mean_execution_s,
        "workers": workers,
    }
    call.out.record(_STATISTICS, record)
    if workers and call.out.format is Format.TABLE and call.out.options.columns is None:
        call.out.write("\n")
        call.out.records(_WORKERS, workers)
    return ExitCode.OK


async def _change(
    call: Invocation,
    task_ids: list[str],
    as_agent: str,
    queue: str,
    change: Callable[[Supervisor, str], Awaitable[TaskStatus]],
) -> ExitCode:
    rows: list[Record] = []
    errors: list[MasError] = []
    async with open_system(call) as system:
        from mas_core.ops import tasks

        async with tasks.supervisor(system, queue, as_agent) as boss:
            for task_id in task_ids:
                try:
                    found = await change(boss, task_id)
                    rows.append({"id": task_id, "status": found.status})
                except MasError as error:
                    if len(task_ids) == 1:
                        raise
                    errors.append(error)
                    shown = {"code": error.code, "message": error.message}
                    rows.append({"id": task_id, "status": None, "error": shown})
    call.out.records(_CHANGED, rows)
    if errors:
        raise PartlyFailed(f"{len(errors)} of {len(task_ids)} tasks were not changed")
    return ExitCode.OK


def _ended(call: Invocation, found: TaskStatus) -> ExitCode:
    if found.status == "done":
        call.out.document(found.result or {})
        call.talk.say(f"done by {found.worker} in {found.execution_time:.1f} s, attempt {found.attempt}")
        return ExitCode.OK
    error = found.error
    shown = {"type": error.type, "message": error.message} if error else None
    call.out.document({"status": found.status, "error": shown})
    call.talk.say(f"try: mas task get {found.task_id}{_queue_flag(found.queue)}")
    return ExitCode.NO


def _queue_flag(queue: str) -> str:
    return "" if queue == DEFAULT else f" --queue {queue}"


def _whole(task: Task) -> Record:
    error = task.error
    return {
        **task_row(task),
        "description": task.description,
        "parameters": task.parameters,
        "assigner": task.assigner,
        "capabilities": list(task.capabilities),
        "priority": task.priority,
        "depends_on": list(task.depends_on),
        "parent": task.parent or None,
        "on_behalf_of": list(task.on_behalf_of),
        "created": moment(task.created),
        "started": moment(task.started),
        "ended": moment(task.ended),
        "deadline": moment(task.deadline),
        "note": task.note,
        "result": task.result,
        "error": {"type": error.type, "message": error.message} if error else None,
        "attempts": [
            {
                "number": attempt.number,
                "agent": attempt.worker,
                "started": moment(attempt.started),
                "ended": moment(attempt.ended),
                "error": {"type": attempt.error.type, "message": attempt.error.message},
            }
            for attempt in task.history
        ],
    }
