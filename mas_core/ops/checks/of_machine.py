"""Checks of files: the project's, the user's contexts, and the shell's completions."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from mas_core.errors import MasError
from mas_core.ops.checks.finding import Bounds, Finding
from mas_core.ops.checks.look import Look, OpenPath
from mas_core.ops.health.report import HealthStatus
from mas_core.ops.project import validate_specs
from mas_core.settings.contexts import ContextStore

_LISTED = 20


def files(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Nobody else can read the keys, the tokens and the rest of `.mas/`."""
    if look.project is None:
        yield Finding("files", "ok", "no project here, so no private files")
        return
    for item in look.open_paths[:_LISTED]:
        wanted = 0o700 if item.is_folder else 0o600
        yield Finding(
            "files",
            "red",
            f"{item.path} has mode {item.mode:04o}: other users of this machine get at it",
            f"chmod {wanted:o} {shlex.quote(str(item.path))}",
            _closing(item, wanted),
        )
    if len(look.open_paths) > _LISTED:
        more = len(look.open_paths) - _LISTED
        yield Finding("files", "red", f"and {more} more", f"chmod -R go= {look.project.root / '.mas'}")
    if not look.open_paths:
        yield Finding("files", "ok", f"{look.project.root / '.mas'} is yours alone")


def _closing(item: OpenPath, wanted: int) -> Callable[[], str]:
    def close() -> str:
        # Following a link that somebody put there meanwhile would change another file.
        if item.path.is_symlink():
            return f"{item.path} is a link now, and was left alone"
        item.path.chmod(wanted)
        return f"{item.path} has mode {wanted:04o} now; undo with: chmod {item.mode:o} {item.path}"

    return close


def specs(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """mas.yaml, the policy file and the specs can be read."""
    if look.project is None:
        yield Finding("specs", "ok", "no project here")
        return
    found, problems = validate_specs(look.project)
    for problem in problems[:_LISTED]:
        fix = problem.hint.splitlines()[0] if problem.hint else "mas config validate"
        yield Finding("specs", "red", str(problem), fix)
    if not problems:
        what = "1 agent spec" if len(found) == 1 else f"{len(found)} agent specs"
        yield Finding("specs", "ok", f"{look.project.config_path.name}, the policy and {what} are valid")


def certificates(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Certificates of this project last, and nobody else can read their keys."""
    if look.project is None or not look.certificates:
        yield Finding("certificates", "ok", "no agent goes through a server here")
        return
    told = [str(item.path) for item in look.certificates.open_keys]
    for problem in look.certificates.problems[:_LISTED]:
        if any(path in problem.message for path in told):
            # What is open to others cannot be used either; how to close it is told below.
            continue
        status: HealthStatus = "warn" if "expires at" in problem.message else "red"
        yield Finding("certificates", status, problem.message, problem.fix)
    for item in look.certificates.open_keys[:_LISTED]:
        yield Finding(
            "certificates",
            "red",
            f"the key in {item.path} has mode {item.mode:04o}: other users of this machine get at it",
            f"chmod 600 {shlex.quote(str(item.path))}",
            _closing(item, 0o600),
        )
    if not (look.certificates.problems or look.certificates.open_keys):
        yield Finding("certificates", "ok", "they last, and their keys are yours alone")


def contexts(look: Look, _: Bounds | None) -> Iterator[Finding]:  # noqa: ARG001 - all checks are called alike
    """The contexts of the user can be read, and the folders that they name are there."""
    store = ContextStore()
    try:
        selected, known = store.selected(), store.list()
    except MasError as error:
        yield Finding("contexts", "red", error.message, error.hint[0] if error.hint else "mas context list")
        return
    troubled = False
    for context in known:
        folders = (context.project, context.keys_dir, context.tokens_dir)
        for folder in [item for item in folders if item is not None and not Path(item).exists()]:
            troubled = True
            is_selected = selected is not None and selected.name == context.name
            yield Finding(
                "contexts",
                "red" if is_selected else "warn",
                f"the context {context.name} names {folder}, which is not there",
                f"mas context remove {context.name}",
            )
    if not troubled:
        name = f", {selected.name} is selected" if selected else ""
        count = "no context" if not known else "1 context" if len(known) == 1 else f"{len(known)} contexts"
        yield Finding("contexts", "ok", f"{count}{name}")


def completion(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """TAB completes `mas` in the user's shell, by the script of this version."""
    wanted = look.completion
    if wanted is None:
        yield Finding("completion", "ok", "there are no completions for this shell")
        return
    try:
        present = wanted.path.read_text()
    except (OSError, UnicodeDecodeError):
        present = ""
    if present == wanted.script:
        yield Finding("completion", "ok", f"installed for {wanted.shell}")
        return

    def install() -> str:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        wanted.path.write_text(wanted.script)
        return f"{wanted.path} was written; undo with: rm {wanted.path}"

    what = "are of another version" if present else "are not installed"
    yield Finding(
        "completion",
        "warn",
        f"the completions for {wanted.shell} {what}",
        f"mas completion install {wanted.shell}",
        install,
    )
