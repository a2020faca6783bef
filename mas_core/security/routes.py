"""What the routes of a policy document say about one message, compiled.

Several routes may speak of a message. What a more specific one says stands; where it says nothing, the next
one is asked. A route is the more specific the more closely it names sender and target (an agent, a role,
everybody), then the more of the type it spells out; between equals the later one wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from mas_core.errors import ConfigurationError
from mas_core.model.policy import ANYONE, PolicyDocument, Route
from mas_core.security.access import PARTY
from mas_core.security.type_glob import TYPE_GLOB, compile_glob

E2E_MODES: Final = frozenset({"forbid", "allow", "require"})
MAX_CACHED_SETTINGS: Final = 20_000


class RouteSettings(msgspec.Struct, frozen=True):
    """What holds for the messages of one type from one sender to one target."""

    e2e: str = ""
    """forbid, allow, require, or empty when no route says."""
    dlp: tuple[Mapping[str, str], ...] = ()
    """What each route that speaks of it says about rules and categories, most specific first."""


NO_SETTINGS: Final = RouteSettings()


class Routes:
    """Answers from one policy document, which never changes; a new document gets a new object.

    Raises:
        ConfigurationError: A route of the document makes no sense.
    """

    def __init__(self, document: PolicyDocument) -> None:
        self._by_pair: dict[tuple[str, str], list[tuple[tuple[int, int, int], Route, Callable[[str], bool]]]]
        self._by_pair = {}
        for order, route in enumerate(document.routes):
            _check(route)
            self._by_pair.setdefault((route.sender, route.target), []).append(
                (_rank(route, order), route, compile_glob(route.type))
            )
        self._names: dict[str, tuple[str, ...]] = {}
        for role, members in document.roles.items():
            for agent_id in dict.fromkeys(members):
                self._names[agent_id] = (*self._names.get(agent_id, (agent_id, ANYONE)), f"role:{role}")
        self._cache: dict[tuple[str, str, str], RouteSettings] = {}

    def find(self, sender: str, target: str, message_type: str) -> RouteSettings:
        """What holds for a message; cheap to ask again."""
        if not self._by_pair:
            return NO_SETTINGS
        key = (sender, target, message_type)
        settings = self._cache.get(key)
        if settings is None:
            if len(self._cache) >= MAX_CACHED_SETTINGS:
                self._cache.clear()
            settings = self._cache[key] = self._merged(sender, target, message_type)
        return settings

    def _merged(self, sender: str, target: str, message_type: str) -> RouteSettings:
        speaking = [
            (rank, route)
            for sender_name in self._names.get(sender, (sender, ANYONE))
            for target_name in self._names.get(target, (target, ANYONE))
            for rank, route, matches in self._by_pair.get((sender_name, target_name), ())
            if matches(message_type)
        ]
        routes = [route for _, route in sorted(speaking, key=lambda pair: pair[0], reverse=True)]
        return RouteSettings(
            e2e=next((route.e2e for route in routes if route.e2e), ""),
            dlp=tuple(route.dlp for route in routes if route.dlp),
        )


def _rank(route: Route, order: int) -> tuple[int, int, int]:
    """The higher the more specific; no two routes of a document have the same."""
    parties = sum(
        0 if name == ANYONE else 1 if name.startswith("role:") else 2 for name in (route.sender, route.target)
    )
    spelled_out = sum(character not in "*?" for character in route.type)
    return parties, 2 * spelled_out + (spelled_out == len(route.type)), order


def _check(route: Route) -> None:
    where = f"the route {route.sender} -> {route.target}"
    if not (PARTY.fullmatch(route.sender) and PARTY.fullmatch(route.target)):
        raise ConfigurationError(f"{where} names neither agent, role:NAME nor *")
    if not TYPE_GLOB.fullmatch(route.type):
        raise ConfigurationError(f"{where} has no pattern for message types")
    if route.e2e and route.e2e not in E2E_MODES:
        raise ConfigurationError(f"{where} has e2e {route.e2e!r}", hint="use forbid, allow or require")
