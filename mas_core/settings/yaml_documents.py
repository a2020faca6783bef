"""YAML as data only: read strictly, with the line of every key, so that an error can say where it is.

Stricter than YAML: no tags but the JSON types, no equal keys in a mapping, text keys only, `yes`, `off`
and dates stay text, and a limit on size, depth and expansion of aliases.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mas_core.errors import SpecInvalid

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_VALUES = 100_000

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Problem(NamedTuple):
    """One thing that is wrong in a file, where, and what to do about it."""

    path: str
    line: int
    """From 1; 0 when it concerns the whole file."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


def error_of(problems: Sequence[Problem]) -> SpecInvalid:
    """One error that names all `problems`, of which there is at least one."""
    first = problems[0]
    return SpecInvalid(
        "\n".join((first.message, *map(str, problems[1:]))),
        path=first.path,
        line=first.line,
        hint=tuple(dict.fromkeys(problem.hint for problem in problems if problem.hint)),
        problems=[problem._asdict() for problem in problems],
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence about what was probably meant by `name`, else the known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names) or 'none'}"


@dataclass(frozen=True)
class YamlDocument:
    """The value of a YAML file and where each part of it stands."""

    path: str
    value: dict[str, object]
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line(self, *keys: str | int) -> int:
        """The line of the value at `keys`, or of the nearest part around it that exists."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 0)

    def problem(self, message: str, *keys: str | int, hint: str = "") -> Problem:
        """A problem with the value at `keys`."""
        return Problem(self.path, self.line(*keys), message, hint)

    def error(self, message: str, *keys: str | int, hint: str = "") -> SpecInvalid:
        """An error about the value at `keys`, to be raised."""
        return error_of([self.problem(message, *keys, hint=hint)])


def read_yaml(path: Path, name: str = "") -> YamlDocument:
    """The document in the file at `path`; `name` is what errors call it.

    Raises:
        SpecInvalid: It cannot be read, is too large or is not the YAML we take.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecInvalid(f"cannot be read: {error.strerror}", path=name) from error
    if len(content) > MAX_BYTES:
        raise SpecInvalid(f"is larger than {MAX_BYTES} bytes", path=name)
    try:
        return parse_yaml(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecInvalid("is not UTF-8 text", path=name, line=line) from error


_WAYS_OUT = {
    "\\t": "indent with spaces, not tabs",
    "mapping values are not allowed": "put text that holds a colon between quotes",
    "could not find expected ':'": "write  field: value  with a space after the colon",
    "expected ',' or": "close the bracket, and put commas between what it holds",
    "expected <block end>": "indent what belongs together equally",
    "unexpected end of stream": "close the quote",
    "expected alphabetic": "put text that begins with * or & between quotes",
    "another document": "write one document a file, without ---",
    "cannot start any token": "put text that begins with @, ` or % between quotes",
}
"""Words of the parser -> what to change."""
_LOOK_AROUND = "look at the quotes and the indentation of this line and the one above"


def parse_yaml(text: str, path: str) -> YamlDocument:
    """The mapping that `text` holds; an empty text is an empty mapping.

    Raises:
        SpecInvalid: It is not the YAML we take, or not a mapping.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = _way_out(error.problem or error.context or "")
        raise SpecInvalid(
            f"is not valid YAML: {error.problem or error.context}",
            path=path,
            line=mark.line + 1 if mark else 0,
            hint=(hint,),
        ) from None  # it quotes the line
    except yaml.YAMLError:
        raise SpecInvalid("holds characters that YAML does not allow", path=path) from None
    except RecursionError:
        raise SpecInvalid(f"is nested deeper than {MAX_DEPTH} levels", path=path) from None
    if root is None:
        return YamlDocument(path, {}, {})
    builder = _Builder(path)
    value = builder.build(root, ())
    if not isinstance(value, dict):
        raise SpecInvalid(
            "must be a mapping of fields to values", path=path, line=1, hint="write lines like  field: value"
        )
    return YamlDocument(path, value, builder.lines)


def _way_out(problem: str) -> str:
    """What to change, for what people get wrong most."""
    return next((fix for words, fix in _WAYS_OUT.items() if words in problem), _LOOK_AROUND)


class _Loader(yaml.SafeLoader):
    """Knows the scalars of JSON only; everything else is text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


class _Builder:
    """Turns nodes into values and notes their lines."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: dict[KeyPath, int] = {}
        self.values = 0

    def build(self, node: yaml.Node, keys: KeyPath) -> object:
        line = node.start_mark.line + 1
        self.lines.setdefault(keys, line)
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.error(f"expands to more than {MAX_VALUES} values", line)
        if len(keys) > MAX_DEPTH:
            raise self.error(f"is nested deeper than {MAX_DEPTH} levels", line)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.build(child, (*keys, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node.value, kind, line)
        raise self.unknown_tag(node.tag, line)

    def mapping(self, node: yaml.MappingNode, keys: KeyPath) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise self.error("has a key that is not text", line, hint="put the key in quotes")
            key = key_node.value
            if key in built:
                first = self.lines[(*keys, key)]
                raise self.error(
                    f"has the key {key!r} twice, first on line {first}", line, hint="remove one of the two"
                )
            self.lines[(*keys, key)] = line
            built[key] = self.build(value_node, (*keys, key))
        return built

    def scalar(self, text: str, kind: str, line: int) -> object:
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind not in {"bool", "int", "float"}:
            raise self.unknown_tag(kind, line)
        try:
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text)
            if math.isfinite(number := float(text)):
                return number
        except (ValueError, KeyError):
            pass
        raise self.error("has a value that cannot be represented", line, hint="put it in quotes")

    def unknown_tag(self, tag: str, line: int) -> SpecInvalid:
        shown = "!!" + tag.removeprefix("tag:yaml.org,2002:") if "!" not in tag else tag
        return self.error(f"uses the tag {shown!r}, which is not allowed", line, hint="remove the tag")

    def error(self, message: str, line: int, hint: str = "") -> SpecInvalid:
        return error_of([Problem(self.path, line, message, hint)])


def validated(model: type[Model], document: YamlDocument, value: object = None, at: KeyPath = ()) -> Model:
    """`value`, which stands at `at` in the document (all of it when left out), as a `model`.

    Raises:
        SpecInvalid: It does not fit; names all problems with their lines.
    """
    try:
        return model.model_validate(document.value if value is None else value)
    except ValidationError as error:
        raise error_of([*problems_of(error, model, document, at)]) from None


def problems_of(
    error: ValidationError, model: type[BaseModel], document: YamlDocument, at: KeyPath = ()
) -> Iterator[Problem]:
    """What pydantic found, said in the words of the file: never with the value, which may be a secret."""
    for detail in error.errors(include_url=False, include_input=False):
        message, hint = _explained(detail, model)
        yield document.problem(message, *at, *detail["loc"], hint=hint)


def _explained(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    location = detail["loc"]
    dotted = ".".join(map(str, location))
    match detail["type"]:
        case "extra_forbidden":
            known = _fields_at(model, location[:-1])
            return f"unknown field {dotted!r}", suggestion(str(location[-1]), known)
        case "missing":
            return f"the field {dotted!r} is missing", f"add a line  {location[-1]}: ..."
        case "value_error":
            message, _, hint = detail["msg"].removeprefix("Value error, ").partition("\n")
            return (f"{dotted}: {message}" if dotted else message), hint
    text = detail["msg"]
    return f"{dotted}: {text[:1].lower()}{text[1:]}", ""


def _fields_at(model: type[BaseModel], location: KeyPath) -> list[str]:
    """The names of the fields of the model that stands at `location` inside `model`."""
    for key in location:
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        if key in fields:
            model = next(_models_in(fields[str(key)].annotation), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
