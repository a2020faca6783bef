"""`mas context`: named systems of this user, one of them selected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mas_cli.input.editor import can_edit, edited
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import ContextNotFound, UsageError
from mas_core.settings.contexts import Context, ContextStore, make_context

Name = Annotated[str, typer.Argument(metavar="CONTEXT", help="Name of the context.")]


def _flagged(value: object) -> Style | None:
    return "warn" if value else None


_COLUMNS = (
    Column("name", style=lambda _: "name"),
    Column("selected"),
    Column("url", flexible=True),
    Column("project", flexible=True),
    Column("profile"),
    Column("protected", style=_flagged),
    Column("read_only", style=_flagged),
)
_DETAILS = (
    *_COLUMNS,
    Column("namespace"),
    Column("partitions", kind="number"),
    Column("keys_dir"),
    Column("tokens_dir"),
    Column("operator"),
    Column("operator_cert"),
)
_CHECKED = (
    Column("name", style=lambda _: "name"),
    Column("ok", style=lambda ok: "good" if ok else "bad"),
    Column("problem", flexible=True),
    Column("ms", kind="number"),
)


def list_contexts(call: Invocation) -> ExitCode:
    """List the contexts of this user."""
    store = ContextStore()
    selected = store.selected()
    contexts = store.list()
    call.out.records(_COLUMNS, [_record(context, selected) for context in contexts])
    call.talk.count(f"{len(contexts)} contexts; add one with: mas context add NAME --url URL")
    return ExitCode.OK


def add(
    call: Invocation,
    name: Name,
    *,
    project: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a project.")] = None,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="First part of every key.")] = "mas",
    partitions: Annotated[int, typer.Option(metavar="N", help="Partitions of the system.")] = 1,
    profile: Annotated[
        str, typer.Option(metavar="fast|durable|ha", help="Durability profile of the system.")
    ] = "durable",
    keys_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the gateway's keys.")
    ] = None,
    tokens_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of agents' tokens.")] = None,
    operator: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who you are there: what mas operator add has written."),
    ] = None,
    operator_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your certificate and its key, if you are known by one."),
    ] = None,
    protected: Annotated[
        bool, typer.Option("--protected", help="Ask for the context's name before deleting.")
    ] = False,
    writable: Annotated[
        bool, typer.Option("--writable/--no-writes", help="Whether commands may change the system.")
    ] = True,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a context of this name.")] = False,
) -> ExitCode:
    """Name a server or a project, to work with it by name.

    The server comes from --url; `--url -` reads it from standard input, which keeps a password out of
    the list of processes. It is kept in a private file (mode 0600) in your configuration folder. The first
    context is selected at once.
    """
    store = ContextStore()
    url = call.stdin.readline().strip() if call.flags.url == "-" else call.flags.url
    context = make_context(
        name=name,
        url=url,
        project=_absolute(project),
        namespace=namespace,
        partitions=partitions,
        profile=profile,
        keys_dir=_absolute(keys_dir),
        tokens_dir=_absolute(tokens_dir),
        operator=_absolute(operator),
        operator_cert=_absolute(operator_cert),
        protected=protected,
        read_only=not writable,
    )
    is_first = not store.list()
    store.add(context, replace=replace)
    if is_first:
        store.select(name)
    call.out.record(_COLUMNS, _record(context, store.selected()))
    call.talk.say(f"undo with: mas context remove {name} --yes")
    return ExitCode.OK


def show(
    call: Invocation,
    name: Annotated[
        str | None, typer.Argument(metavar="CONTEXT", help="Name; the selected one when left out.")
    ] = None,
) -> ExitCode:
    """Show one context."""
    store = ContextStore()
    selected = store.selected()
    wanted = name or call.flags.context
    context = store.get(wanted) if wanted else selected
    if context is None:
        raise ContextNotFound("no context is selected", hint=("mas context list", "mas context select NAME"))
    call.out.record(_DETAILS, _record(context, selected))
    return ExitCode.OK


def select(call: Invocation, name: Name) -> ExitCode:
    """Use a context from now on."""
    context = ContextStore().select(name)
    call.out.record(_COLUMNS, _record(context, context))
    call.talk.say("undo with: mas context previous")
    return ExitCode.OK


def previous(call: Invocation) -> ExitCode:
    """Go back to the context selected before."""
    context = ContextStore().previous()
    call.out.record(_COLUMNS, _record(context, context))
    return ExitCode.OK


def copy(
    call: Invocation,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The name of the copy.")],
) -> ExitCode:
    """Make another context like this one, to be changed."""
    store = ContextStore()
    copied = make_context(**(store.get(name).model_dump() | {"name": new_name}))
    store.add(copied)
    call.out.record(_COLUMNS, _record(copied, store.selected()))
    call.talk.say(f"change it with: mas context edit {new_name}")
    return ExitCode.OK


def edit(call: Invocation, name: Name) -> ExitCode:
    """Change a context in your editor; it is kept only if it can be used.

    The editor is that of VISUAL or EDITOR, else vi.
    """
    if not can_edit():
        raise UsageError(
            "an editor needs a terminal",
            hint=(f"mas context show {name} --output yaml", f"mas context add {name} --url URL --replace"),
        )
    store = ContextStore()
    before = store.text(name)
    text = edited(before, f"{name}-", ".yaml")
    after = store.parse(name, text)
    if text == before:
        call.talk.say("nothing was changed")
    else:
        store.add(after, replace=True)
    call.out.record(_DETAILS, _record(after, store.selected()))
    return ExitCode.OK


async def validate(
    call: Invocation,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CONTEXT", help="Names of the contexts; all if left out.")
    ] = None,
    *,
    connect: Annotated[bool, typer.Option("--connect", help="See whether the server answers, too.")] = False,
) -> ExitCode:
    """Check that contexts can be used.

    With --connect the exit code is 3 when a server does not answer.
    """
    from mas_core.ops.contexts import check_context

    rows = [await check_context(name, connect=connect) for name in names or ContextStore().names()]
    call.out.records(
        _CHECKED if connect else _CHECKED[:-1],
        [
            {"name": row.name, "ok": not row.problem, "ms": row.milliseconds, "problem": row.problem or None}
            for row in rows
        ],
    )
    if any(row.problem and not row.is_unreachable for row in rows):
        return ExitCode.NO
    return ExitCode.UNREACHABLE if any(row.problem for row in rows) else ExitCode.OK


def rename(
    call: Invocation,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The name that it gets.")],
) -> ExitCode:
    """Give a context another name."""
    store = ContextStore()
    context = store.rename(name, new_name)
    call.out.record(_COLUMNS, _record(context, store.selected()))
    call.talk.say(f"undo with: mas context rename {new_name} {name}")
    return ExitCode.OK


def remove(
    call: Invocation,
    names: Annotated[list[str], typer.Argument(metavar="CONTEXT", help="Names of the contexts.")],
) -> ExitCode:
    """Forget contexts; the systems they name are not touched."""
    store = ContextStore()
    unique = list(dict.fromkeys(names))
    contexts = [store.get(name) for name in unique]
    guarded = next((context for context in contexts if context.protected), None)
    if guarded is not None or len(contexts) > 1:
        call.ask.many([f"the context {name}" for name in unique], (guarded or contexts[0]).name)
    else:
        call.ask.one(f"the context {unique[0]}")
    for name in unique:
        store.remove(name)
    call.out.records(
        (Column("name"), Column("removed")), [{"name": name, "removed": True} for name in unique]
    )
    return ExitCode.OK


def _record(context: Context, selected: Context | None) -> dict[str, object]:
    fields = context.model_dump(mode="json")
    return {
        **fields,
        "url": context.shown_url,
        "selected": selected is not None and context.name == selected.name,
    }


def _absolute(path: Path | None) -> Path | None:
    return path and path.expanduser().resolve()
