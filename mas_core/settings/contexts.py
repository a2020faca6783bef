"""Contexts of a user: named systems to work on, one of them selected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mas_core.errors import Conflict, ContextNotFound, UsageError
from mas_core.settings.masking import mask_url
from mas_core.settings.permissions import checked_agent_id
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.project_config import Profile
from mas_core.settings.user_folder import user_folder
from mas_core.settings.yaml_documents import parse_yaml, read_yaml, suggestion, validated

_SELECTION = "selected.yaml"


class Context(BaseModel):
    """A system to work on: a project folder, or a server with the folders of its keys and tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(checked_agent_id)]
    """1 to 63 characters of a-z 0-9 _ -."""
    url: str | None = None
    """URL of the server, or a reference to it; what the project says or runs when not given."""
    namespace: str = Field(default="mas", pattern="^[a-z0-9][a-z0-9_-]{0,31}$")
    """First part of every key."""
    partitions: int = Field(default=1, ge=1, le=1024)
    """Into how many parts the keys are split."""
    profile: Profile = "durable"
    """What a receipt waits for."""
    project: Path | None = None
    """Folder of the project."""
    keys_dir: Path | None = None
    """Folder of the gateway's keys."""
    tokens_dir: Path | None = None
    """Folder of the token files."""
    operator: Path | None = None
    """File that says which operator works on it, as mas operator add writes it."""
    operator_cert: Path | None = None
    """File with certificate and key of that operator, where it is known by a certificate."""
    protected: bool = False
    """Destroying commands ask for the name of the context."""
    read_only: bool = False
    """Changing commands are refused."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.url is None and self.project is None:
            raise ValueError("a context needs url or project\nwrite  url: redis://HOST:PORT/0")
        return self

    @property
    def shown_url(self) -> str:
        """The URL without its secret."""
        return mask_url(self.url) if self.url else ""


class _Selection(BaseModel):
    model_config = ConfigDict(extra="ignore")

    current: str | None = None
    previous: str | None = None


class ContextStore:
    """The contexts in the folder of the user.

    Args:
        folder: Where they are kept; the user's configuration folder when left out.
        environ: Names that folder.
    """

    def __init__(self, folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.folder = folder or user_folder(environ)

    def list(self) -> list[Context]:
        """All contexts by name.

        Raises:
            SpecInvalid: The file of one cannot be used.
        """
        return [self._read(path) for path in sorted(self._contexts.glob("*.yaml"))]

    def get(self, name: str) -> Context:
        """The context `name`.

        Raises:
            ContextNotFound: There is none.
            SpecInvalid: Its file cannot be used.
        """
        return self._read(self._existing(name))

    def names(self) -> tuple[str, ...]:
        """The names of all contexts, also of those whose file cannot be used."""
        return tuple(sorted(self._names()))

    def text(self, name: str) -> str:
        """The file of a context, with its secrets, also if it cannot be used.

        Raises:
            ContextNotFound: There is none.
        """
        return self._existing(name).read_text(encoding="utf-8", errors="replace")

    def parse(self, name: str, text: str) -> Context:
        """The context that the text of a file would be.

        Raises:
            SpecInvalid: It cannot be used, or is called otherwise.
        """
        document = parse_yaml(text, f"{name}.yaml")
        context = validated(Context, document, {"name": name} | document.value)
        if context.name != name:
            raise document.error(
                f"another name is given with: mas context rename {name} {context.name}", "name"
            )
        return context

    def add(self, context: Context, *, replace: bool = False) -> Path:
        """Keep `context` in a private file.

        Raises:
            Conflict: There is one of that name and it is not to be replaced.
        """
        path = self._path(context.name)
        if path.exists() and not replace:
            raise Conflict(f"the context {context.name!r} exists", hint=f"mas context remove {context.name}")
        private_dir(self._contexts)
        fields = context.model_dump(mode="json", exclude_defaults=True)
        return write_private(path, yaml.safe_dump(fields, sort_keys=False).encode())

    def remove(self, name: str) -> None:
        """Forget the context `name`; it is no longer selected.

        Raises:
            ContextNotFound: There is none.
        """
        self.get(name)
        self._path(name).unlink()
        selection = self._selection()
        self._select(
            selection.current if selection.current != name else None,
            selection.previous if selection.previous != name else None,
        )

    def rename(self, name: str, new_name: str) -> Context:
        """Give the context `name` a new name; it stays selected if it was.

        Raises:
            ContextNotFound: There is none.
            Conflict: The new name is taken.
            UsageError: The new name cannot be one.
        """
        renamed = make_context(**(self.get(name).model_dump() | {"name": new_name}))
        self.add(renamed)
        self._path(name).unlink()
        selection = self._selection()
        self._select(*(new_name if one == name else one for one in (selection.current, selection.previous)))
        return renamed

    def select(self, name: str) -> Context:
        """Make `name` the context of commands that name no other.

        Raises:
            ContextNotFound: There is none.
        """
        context = self.get(name)
        current = self._selection().current
        if current != name:
            self._select(name, current)
        return context

    def previous(self) -> Context:
        """Go back to the context that was selected before.

        Raises:
            ContextNotFound: None was.
        """
        name = self._selection().previous
        if name is None:
            raise ContextNotFound("no context was selected before this one", hint="mas context list")
        return self.select(name)

    def selected(self) -> Context | None:
        """The selected context.

        Raises:
            ContextNotFound: It is gone.
        """
        name = self._selection().current
        return self.get(name) if name else None

    @property
    def _contexts(self) -> Path:
        return self.folder / "contexts"

    def _names(self) -> set[str]:
        return {path.stem for path in self._contexts.glob("*.yaml")}

    def _path(self, name: str) -> Path:
        try:
            return self._contexts / f"{checked_agent_id(name)}.yaml"
        except ValueError:
            raise ContextNotFound(f"{name!r} cannot be a context", hint="mas context list") from None

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            known = self._names()
            near = suggestion(name, known) if known else ""
            raise ContextNotFound(
                f"there is no context {name!r}", hint=tuple(filter(None, (near, "mas context list")))
            )
        return path

    def _read(self, path: Path) -> Context:
        document = read_yaml(path)
        return validated(Context, document, {"name": path.stem} | document.value)

    def _selection(self) -> _Selection:
        path = self.folder / _SELECTION
        return validated(_Selection, read_yaml(path)) if path.is_file() else _Selection()

    def _select(self, current: str | None, previous: str | None) -> None:
        private_dir(self.folder)
        fields = {"current": current, "previous": previous}
        write_private(self.folder / _SELECTION, yaml.safe_dump(fields, sort_keys=False).encode())


def make_context(**fields: object) -> Context:
    """A context of what a caller gave.

    Raises:
        UsageError: The fields do not make one.
    """
    try:
        return Context.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message, _, hint = first["msg"].removeprefix("Value error, ").partition("\n")
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {message}" if where else message, hint=hint or ()) from None
