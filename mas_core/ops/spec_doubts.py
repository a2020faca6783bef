"""What can be used in specs of agents, but is hardly what somebody wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mas_core.ops.system import OPERATOR
from mas_core.runner.class_loading import place_of
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.masking import is_secret
from mas_core.settings.secrets import is_reference
from mas_core.settings.yaml_documents import Problem, suggestion

_ROLE = "role:"


def doubts(specs: Iterable[AgentSpec], known: Sequence[AgentSpec]) -> list[Problem]:
    """What is doubtful in specs that are valid, in the order of the specs.

    Args:
        specs: What is looked at.
        known: All agents of the project; permissions should name these.
    """
    names = {OPERATOR, *(spec.agent_id for spec in known)}
    return [problem for spec in specs for problem in (*_of_settings(spec), *_of_permissions(spec, names))]


def _of_settings(spec: AgentSpec) -> Iterable[Problem]:
    if spec.ordered and spec.instances.max > 1:
        yield _problem(
            spec,
            "ordered",
            f"{spec.instances.max} instances share the messages of a sender, so their order is lost",
            "instances: 1",
        )
    if spec.stuck_after is not None and 0 < (spec.handler_timeout or 0) > spec.stuck_after:
        yield _problem(
            spec,
            "stuck_after",
            f"the agent counts as stuck after {spec.stuck_after:g} s, while a handler may take"
            f" {spec.handler_timeout:g} s",
            f"stuck_after: {spec.handler_timeout:g}",
        )
    for name, value in spec.env.items():
        if is_secret(name) and value and not is_reference(value):
            yield _problem(
                spec,
                "env",
                f"{name} looks like a secret, which everybody sees who can read this file",
                f"export {name} where mas up runs, which agents inherit",
            )


def _of_permissions(spec: AgentSpec, names: set[str]) -> Iterable[Problem]:
    strangers = dict.fromkeys(
        party
        for permission in spec.permissions
        for party in (*(permission.to or ()), *(permission.sender or ()))
        if party != "*" and not party.startswith(_ROLE) and party not in names
    )
    for stranger in strangers:
        yield _problem(
            spec,
            "permissions",
            f"no agent of the project is called {stranger!r}",
            suggestion(stranger, names),
        )


def _problem(spec: AgentSpec, field: str, message: str, hint: str) -> Problem:
    path, line = place_of(spec, field)
    return Problem(path, line, f"{field}: {message}", hint)
