"""Class paths of agent specs: which ones are allowed, decided before any of their code runs.

Allowed are modules inside the project and modules under the packages that mas.yaml names. What an
allowed module does when it is imported is its own: a spec can only name code that is already trusted.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mas_core.errors import SpecInvalid
from mas_core.settings.agent_spec import CLASS_PATH, AgentSpec
from mas_core.settings.masking import without_secrets
from mas_core.settings.yaml_documents import Problem, read_yaml, suggestion

if TYPE_CHECKING:
    from mas_core.agent import Agent


class ClassLoader:
    """Finds and imports the classes that specs name.

    Args:
        folders: Folders of the project whose modules are allowed, in the order of search.
        prefixes: Packages outside of them that are allowed.
    """

    def __init__(self, folders: Iterable[Path], prefixes: Sequence[str] = ()) -> None:
        self.folders = [folder.resolve() for folder in folders]
        self.prefixes = tuple(prefixes)

    def check(self, class_path: str) -> Path | None:
        """Say whether `class_path` may be used, without importing anything.

        Returns:
            The file of the module when it is one of the project's.

        Raises:
            SpecInvalid: It is malformed, not allowed, or names a class that its file does not have.
        """
        if not CLASS_PATH.fullmatch(class_path):
            raise SpecInvalid(f"{class_path!r} is no class path", hint="write  class_path: module:Class")
        module, _, name = class_path.partition(":")
        if path := self._file_of(module):
            known = _names_in(path)
            if name not in known:
                raise SpecInvalid(f"{path} has no class {name!r}", hint=suggestion(name, known))
            return path
        if any(module == prefix or module.startswith(f"{prefix}.") for prefix in self.prefixes):
            return None
        place = self.folders[0] if self.folders else "the project"
        raise SpecInvalid(
            f"class_path {class_path!r} names a module that is not allowed here",
            hint=(
                f"put {module.replace('.', '/')}.py into {place}",
                f"or allow the package in mas.yaml:  class_prefixes: [{module.partition('.')[0]}]",
            ),
        )

    def load(self, class_path: str) -> type[Agent[Any]]:
        """The class that `class_path` names.

        Raises:
            SpecInvalid: It is not allowed (then nothing was imported), cannot be imported, or is no Agent.
        """
        from mas_core.agent import Agent  # noqa: PLC0415 - checking specs needs no agent

        path = self.check(class_path)
        module_name, _, name = class_path.partition(":")
        for folder in self.folders:
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
        try:
            module = self._import(module_name) if path else importlib.import_module(module_name)
        except Exception as error:
            where = path or module_name
            said = without_secrets(f"{type(error).__name__}: {error}")
            raise SpecInvalid(f"{where} cannot be imported: {said}", hint=f"python {where}") from error
        found = getattr(module, name, None)
        if not (isinstance(found, type) and issubclass(found, Agent)):
            raise SpecInvalid(
                f"class_path {class_path!r} is no subclass of mas_core.Agent",
                hint=f"write  class {name}(Agent):",
            )
        return found

    def _file_of(self, module: str) -> Path | None:
        """The file of `module` in one of the folders; links do not lead out of them."""
        for folder in self.folders:
            base = folder.joinpath(*module.split("."))
            for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                if path.is_file() and path.resolve().is_relative_to(folder):
                    return path
        return None

    def _import(self, module: str) -> object:
        """Import `module` from the folders, even where an installed package has the same name.

        The package above it must be the project's as well, or Python would look elsewhere for the rest.
        """
        search = [str(folder) for folder in self.folders]
        parts = module.split(".")
        found: object = None
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            found = sys.modules.get(name)
            if found is None or not self._is_ours(getattr(found, "__spec__", None)):
                if found is not None:
                    raise ImportError(f"the name {name} is taken by another module; rename the file")
                spec = PathFinder.find_spec(name, search)
                if spec is None or not self._is_ours(spec):
                    raise ImportError(f"{name} is not in the project")
                found = module_from_spec(spec)
                sys.modules[name] = found
                try:
                    if spec.loader:
                        spec.loader.exec_module(found)
                except BaseException:
                    del sys.modules[name]
                    raise
            search = list(getattr(found, "__path__", ()))
        return found

    def _is_ours(self, spec: ModuleSpec | None) -> bool:
        if spec is None:
            return False
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        return bool(places) and all(
            any(Path(place).resolve().is_relative_to(folder) for folder in self.folders)
            for place in places
            if place
        )

    def imported_files(self) -> list[str]:
        """The files of the project that are imported by now: a change of one of them asks for a restart."""
        files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        return sorted(
            file
            for file in files
            if file and any(Path(file).resolve().is_relative_to(folder) for folder in self.folders)
        )


def class_problems(specs: Iterable[AgentSpec], loader: ClassLoader) -> list[Problem]:
    """What is wrong with the class paths of the specs and the programs that they name."""
    problems: list[Problem] = []
    for spec in specs:
        try:
            if spec.class_path is not None:
                loader.check(spec.class_path)
        except SpecInvalid as error:
            path, line = place_of(spec, "class_path")
            problems.append(Problem(path, line, error.message, "\n".join(error.hint)))
    return problems


def place_of(spec: AgentSpec, field: str) -> tuple[str, int]:
    """File and line of a field of the spec."""
    if spec.source is None:
        return spec.agent_id, 0
    document = read_yaml(spec.source)
    inline = document.value.get("agents")
    for index, one in enumerate(inline if isinstance(inline, list) else ()):
        if isinstance(one, dict) and one.get("agent_id") == spec.agent_id:
            return document.path, document.line("agents", index, field)
    return document.path, document.line(field)


def _names_in(path: Path) -> set[str]:
    """What the module in the file defines or imports at its top."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        raise SpecInvalid(f"{path}:{line} is no valid Python: {error}", hint=f"python {path}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names
