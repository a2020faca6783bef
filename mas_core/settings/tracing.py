"""Where spans are exported to: from mas.yaml, and from the variables that OpenTelemetry has given names to.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

ENDPOINT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
RATIO_VARIABLE: Final = "OTEL_TRACES_SAMPLER_ARG"
_TRACES_PATH: Final = "/v1/traces"


class TracingSettings(BaseModel):
    """Where spans go, and of how many messages; needs the extra `otel`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    endpoint: str | None = Field(default=None, pattern="^https?://[^@ ]+$")
    """Base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318; as
    OTEL_EXPORTER_OTLP_ENDPOINT says when not given, nowhere without either."""
    ratio: float | None = Field(default=None, ge=0, le=1)
    """Share of the traces begun here that is exported, what is refused always; as OTEL_TRACES_SAMPLER_ARG says
    when not given, else all."""


@dataclass(frozen=True, slots=True)
class TracingTarget:
    """Where spans go, worked out."""

    url: str
    """Where spans are posted."""
    ratio: float = 1.0
    """Share of the traces begun here."""


def tracing_target(
    settings: TracingSettings | None = None, environ: Mapping[str, str] = os.environ
) -> TracingTarget | None:
    """Where spans go; None where nothing asks for them, or OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER forbids it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    settings = settings or TracingSettings()
    if settings.endpoint:
        url = settings.endpoint.rstrip("/") + _TRACES_PATH
    elif found := environ.get(TRACES_ENDPOINT_VARIABLE, "").strip():
        url = found
    elif found := environ.get(ENDPOINT_VARIABLE, "").strip():
        url = found.rstrip("/") + _TRACES_PATH
    else:
        return None
    return TracingTarget(url, _ratio(environ) if settings.ratio is None else settings.ratio)


def tracing_environment(settings: TracingSettings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What tells an agent's own process the same; what the environment says already is not said again."""
    told: dict[str, str] = {}
    if settings.endpoint and TRACES_ENDPOINT_VARIABLE not in environ and ENDPOINT_VARIABLE not in environ:
        told[ENDPOINT_VARIABLE] = settings.endpoint
    if settings.ratio is not None and RATIO_VARIABLE not in environ:
        told[RATIO_VARIABLE] = str(settings.ratio)
    return told


def _ratio(environ: Mapping[str, str]) -> float:
    """A share that cannot be read counts as all, as for OpenTelemetry itself."""
    with contextlib.suppress(ValueError):
        ratio = float(environ.get(RATIO_VARIABLE, "") or 1.0)
        if 0 <= ratio <= 1:
            return ratio
    return 1.0
