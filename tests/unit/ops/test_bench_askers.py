"""How many agents ask in a measurement of discovery."""

from __future__ import annotations

import pytest

from mas_core.ops.bench.discover import QUESTIONS_OF_ONE, askers_for
from mas_core.ops.bench.load import Load
from mas_core.settings.gateway_settings import RateLimitSettings


@pytest.mark.parametrize(
    "load", [Load(count=10), Load(count=20_000), Load(seconds=10), Load(seconds=5, rate=900)]
)
def test_no_asker_is_stopped_by_the_limit_of_questions(load):
    """Each stays below what a gateway takes of one agent in a minute, with room for its heartbeats."""
    questions = load.count or load.seconds * (load.rate or 1000)

    assert questions / askers_for(load) <= QUESTIONS_OF_ONE < RateLimitSettings().control_per_minute / 2
