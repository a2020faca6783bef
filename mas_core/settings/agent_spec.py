"""Agent specs: the YAML files of agents.d/ that say which agents run, how, and what they may do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from mas_core.base.ids import check_capability, check_message_type
from mas_core.errors import InvalidIdentifier, SpecInvalid
from mas_core.model.delivery_mode import DeliveryMode
from mas_core.model.policy import Effect, Rule
from mas_core.settings.instances import Instances, read_instances
from mas_core.settings.permissions import (
    Action,
    Limit,
    Parties,
    TypeGlobs,
    checked_agent_id,
    file_rule,
    without_repeats,
)
from mas_core.settings.policy_file import FilePolicy
from mas_core.settings.retries import AgentRetries
from mas_core.settings.secrets import anchored, is_reference
from mas_core.settings.yaml_documents import Problem, YamlDocument, error_of, read_yaml, validated

CLASS_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


_GIVEN = frozenset({"token", "redis_url", "gateway_url", "namespace", "partitions", "name"})
"""Arguments of a class that say who the agent is and where."""


def _capability(value: str) -> str:
    try:
        return check_capability(value)
    except InvalidIdentifier as error:
        raise ValueError("\n".join((error.message, *error.hint))) from error


def _message_type(value: str) -> str:
    try:
        return check_message_type(value)
    except InvalidIdentifier as error:
        raise ValueError("\n".join((error.message, *error.hint))) from error


def _class_path(value: str) -> str:
    if not CLASS_PATH.fullmatch(value):
        raise ValueError(f"{value!r} is no class path\nwrite  module:Class, such as  agents.hello:Hello")
    return value


def _reference(value: str) -> str:
    if not is_reference(value):
        # It may be the secret itself, so it is not shown.
        raise ValueError("a secret does not stand here itself\nwrite  env:NAME  or  file:PATH")
    return value


SecretReference = Annotated[str, AfterValidator(_reference)]


def _command(value: object) -> object:
    if isinstance(value, str):
        fix = f"write  exec: [{', '.join(value.split())}]"
        raise ValueError(f"must be a list of program and arguments\n{fix}")  # noqa: TRY004 - pydantic reads it
    return value


def _restart(value: object) -> object:
    return {"policy": value} if isinstance(value, str) else value


class RestartPolicy(BaseModel):
    """What happens when an instance ends by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    """always, on-failure (it ended with an error), or never."""
    base: float = Field(default=1.0, gt=0, le=3600)
    """Seconds before the first restart; doubled with each that follows soon."""
    maximum: float = Field(default=30.0, gt=0, le=3600)
    """Seconds between restarts at most."""


class SpecPermission(BaseModel):
    """One permission of the agent that the spec is about."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    to: Parties | None = None
    """Whom the agent may send to."""
    sender: Parties | None = Field(default=None, alias="from")
    """Who may send to the agent."""
    types: TypeGlobs = ["*"]
    """Patterns of message types: `math.*`."""
    action: Action = "*"
    """send, request, or both."""
    effect: Effect = "allow"
    """deny wins over hold, which waits for a person's approval, and hold over allow."""
    reason: str = Field(default="", max_length=500)
    """Why; shown with each refusal and in the audit."""

    @model_validator(mode="after")
    def _some_party(self) -> Self:
        if self.to is None and self.sender is None:
            raise ValueError("a permission needs to or from\nwrite  - to: AGENT  or  - from: AGENT")
        return self


class AgentSpec(BaseModel):
    """One agent: what runs, how often, with which rights."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True, title="Agent spec"
    )

    agent_id: Annotated[str, AfterValidator(checked_agent_id)]
    """1 to 63 characters of a-z 0-9 _ -."""
    class_path: Annotated[str, Field(max_length=200), AfterValidator(_class_path)] | None = None
    """module:Class, found from the project folder; a subclass of mas_core.Agent."""
    command: Annotated[list[str] | None, BeforeValidator(_command)] = Field(
        default=None, alias="exec", min_length=1
    )
    """A program and its arguments, which gets messages on its standard input."""
    instances: Annotated[
        Instances, BeforeValidator(read_instances, json_schema_input_type=int | Instances)
    ] = Instances(min=1, max=1)
    """How many run at once, or a range to scale in; they share the agent's work and its state."""
    capabilities: list[Annotated[str, AfterValidator(_capability)]] = []
    """What it can do: others discover it by these."""
    metadata: dict[str, Any] = {}
    """Shown to those who discover it."""
    init_kwargs: dict[str, Any] = {}
    """More arguments for the constructor of the class."""
    secrets: dict[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], SecretReference] = {}
    """References to secrets such as env:NAME or file:PATH: further arguments of the class, of type SecretStr, or
    variables of the environment of the program."""
    permissions: list[SpecPermission] = []
    """Rules that come and go with this spec."""
    limits: Limit | None = None
    """How many messages it may send; the project's default when not given."""
    roles: list[Annotated[str, AfterValidator(checked_agent_id)]] = []
    """Roles that rules and limits name as role:NAME."""
    restart: Annotated[RestartPolicy, BeforeValidator(_restart)] = RestartPolicy()
    """always, on-failure, never, or a mapping with policy, base and maximum."""
    env: dict[str, str] = {}
    """Environment variables of its processes; for secrets there is `secrets`."""
    max_in_flight: int | None = Field(default=None, ge=1, le=10_000)
    """How many messages one instance handles at once."""
    delivery: DeliveryMode | None = None
    """at_most_once, at_least_once or exactly_once, for messages whose senders do not say."""
    ordered: bool = False
    """Handle the messages of each sender one at a time, in their order; several instances give that up."""
    retry: AgentRetries | None = None
    """When a message comes again that could not be handled; how the gateway is set, when not given."""
    handler_timeout: float | None = Field(default=None, ge=0, le=86_400)
    """Seconds until a handler is ended and its message has failed; 0 for never, 300 when not given."""
    stuck_after: float | None = Field(default=None, gt=0, le=86_400)
    """Seconds without a settled message, while some wait, after which it counts as stuck; when not given the
    project's `health.agent_stuck_s`, or the handler's own time where that is longer."""
    mode: Literal["stream", "per_message"] = "stream"
    """exec: one program that reads and answers lines of JSON, or one run of it for each message."""
    field: str | None = None
    """exec per_message: the field of the payload that becomes the standard input; without it all of it."""
    types: list[Annotated[str, AfterValidator(_message_type)]] = []
    """exec: the message types that it takes; all when empty."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """exec: seconds until an answer counts as missing."""

    transport: Literal["direct", "server"] | None = None
    """How it reaches the system: direct to the Redis server, or through a server of agents; as the project says
    when not given, and through a server when it has a certificate."""
    tls_cert_path: Path | None = None
    """Client certificate in server mode; relative to this file."""
    tls_key_path: Path | None = None
    """Key of the certificate; relative to this file."""

    _source: Path | None = PrivateAttr(default=None)
    _origin: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> Self:
        if (self.class_path is None) == (self.command is None):
            raise ValueError(
                "a spec has either class_path or exec\n"
                "write  class_path: module:Class  or  exec: [program, argument]"
            )
        if self.command is None:
            only_exec = {"mode", "field", "types", "timeout"} & self.model_fields_set
            if only_exec:
                raise ValueError(f"{', '.join(sorted(only_exec))} can only stand with exec")
        elif self.init_kwargs:
            raise ValueError("init_kwargs can only stand with class_path")
        if twice := sorted(self.secrets.keys() & self.init_kwargs.keys()):
            raise ValueError(f"{twice[0]} is in init_kwargs already, and cannot be in secrets")
        if self.class_path is not None and (taken := sorted(self.secrets.keys() & _GIVEN)):
            raise ValueError(f"{taken[0]} is given by the runner, and cannot be in secrets")
        if self.field is not None and self.mode != "per_message":
            raise ValueError("field can only stand with mode: per_message")
        return self

    @property
    def source(self) -> Path | None:
        """The file it was read from."""
        return self._source

    @property
    def origin(self) -> str:
        """Where its rules say that they come from: `file:<folder>/<name>`."""
        return self._origin

    def from_file(self, source: Path, origin: str) -> Self:
        """The same spec with where it came from, its paths understood from there."""
        folder = source.parent
        copy = self.model_copy(
            update={
                "tls_cert_path": self.tls_cert_path and folder / self.tls_cert_path,
                "tls_key_path": self.tls_key_path and folder / self.tls_key_path,
                "secrets": {name: anchored(text, folder) for name, text in self.secrets.items()},
            }
        )
        copy._source, copy._origin = source, origin  # noqa: SLF001 - private to instances, not to this class
        return copy

    def policy(self) -> FilePolicy:
        """What the spec says about the policy."""
        return FilePolicy(
            rules=without_repeats(self._rules()),
            roles=dict.fromkeys(self.roles, (self.agent_id,)),
            limits={self.agent_id: self.limits.as_rate_limit()} if self.limits else {},
        )

    def _rules(self) -> Iterable[Rule]:
        for permission in self.permissions:
            pairs = [(self.agent_id, target) for target in permission.to or ()]
            pairs += [(sender, self.agent_id) for sender in permission.sender or ()]
            for sender, target in pairs:
                for pattern in permission.types:
                    yield file_rule(
                        permission.effect,
                        sender,
                        target,
                        pattern=pattern,
                        action=permission.action,
                        source=self.origin,
                        reason=permission.reason,
                    )


def load_specs(folder: Path) -> list[AgentSpec]:
    """The specs of all YAML files in `folder`, in the order of their names; none when it does not exist.

    Raises:
        SpecInvalid: Some cannot be used; names every problem of every file with line and fix.
    """
    return read_specs(spec_files(folder))


def spec_files(folder: Path) -> list[Path]:
    """The files in `folder` that are agent specs."""
    return sorted(path for path in folder.glob("*.y*ml") if path.suffix in {".yaml", ".yml"})


def read_specs(paths: Iterable[Path]) -> list[AgentSpec]:
    """The specs in the files `paths`.

    Raises:
        SpecInvalid: Some cannot be used; names every problem of every file with line and fix.
    """
    specs: list[AgentSpec] = []
    problems: list[Problem] = []
    owners: defaultdict[str, list[YamlDocument]] = defaultdict(list)
    for path in paths:
        try:
            document = read_yaml(path)
            spec = validated(AgentSpec, document).from_file(path, f"file:{path.parent.name}/{path.name}")
        except SpecInvalid as error:
            problems += problems_in(error)
            continue
        specs.append(spec)
        owners[spec.agent_id].append(document)
    for agent_id, documents in owners.items():
        for document in documents[1:]:
            problems.append(
                document.problem(
                    f"the agent {agent_id!r} is in {documents[0].path} already",
                    "agent_id",
                    hint="use instances: N to run an agent more than once",
                )
            )
    if problems:
        raise error_of(problems)
    return specs


def problems_in(error: SpecInvalid) -> list[Problem]:
    """The single problems that an error names."""
    listed = error.details.get("problems")
    if isinstance(listed, list):
        return [Problem(**problem) for problem in listed]
    message = error.message.removeprefix(f"{error.path}:{error.line}: ").removeprefix(f"{error.path}: ")
    return [Problem(error.path, error.line, message, error.hint[0] if error.hint else "")]


def agent_spec_schema() -> dict[str, Any]:
    """The JSON Schema of a spec, for editors."""
    schema = AgentSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
