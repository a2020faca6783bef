"""Settings in layers: flag over environment over project file over user file over default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeGuard

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from mas_core.errors import ConfigurationError

Layer = Mapping[str, object]


def merged(*layers: Layer) -> dict[str, object]:
    """All layers in one, lowest first; mappings are merged, everything else is replaced."""
    result: dict[str, object] = {}
    for layer in layers:
        for name, value in layer.items():
            below = result.get(name)
            result[name] = merged(below, value) if _is_layer(below) and _is_layer(value) else value
    return result


def flattened(layer: Layer, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Each value with its dotted name; an empty mapping is a value."""
    for name, value in layer.items():
        if _is_layer(value) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def environment_layer(settings: type[BaseSettings]) -> dict[str, object]:
    """What the environment says about the fields of `settings`.

    Raises:
        ConfigurationError: A variable that should hold JSON does not.
    """
    try:
        return EnvSettingsSource(settings)()
    except SettingsError as error:
        raise ConfigurationError(f"the environment cannot be used: {error}") from error


def _is_layer(value: object) -> TypeGuard[Layer]:
    return isinstance(value, Mapping)
