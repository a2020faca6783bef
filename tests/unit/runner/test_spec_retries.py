"""What an agent spec says about retries reaches its agents."""

import msgspec
import pytest

from mas_core import RetryPolicy, SpecInvalid, UsageError
from mas_core.agent.retries import Retries
from mas_core.model.retry import AS_EVER
from mas_core.runner.instance_process import policies_of
from mas_core.settings.agent_spec import AgentSpec, load_specs
from mas_core.settings.gateway_settings import GatewaySettings

SPEC = """\
agent_id: billing
class_path: agents.billing:Billing
handler_timeout: 20
retry:
  strategy: full_jitter
  attempts: 6
  base: 500ms
  max_delay: 2m
  max_elapsed: 1h
  give_up_on: [forbidden]
  types:
    "card.*": {attempts: 2, retry_on: [TimeoutError]}
    "card.refund": {attempts: 9}
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "billing.yaml").write_text(SPEC)
    (loaded,) = load_specs(tmp_path)
    return loaded


def test_policies_of_types_take_over_what_is_said_for_all(spec):
    """The first pattern that fits counts, also after the spec travelled to the process of an instance."""
    launched = AgentSpec.model_validate(
        msgspec.json.decode(
            msgspec.json.encode(spec.model_dump(mode="json", by_alias=True, exclude_unset=True))
        )
    )
    retries = Retries(policies_of(launched.retry), {})

    general, card = retries.of("invoice"), retries.of("card.refund")

    assert general == RetryPolicy(
        strategy="full_jitter",
        attempts=6,
        base=0.5,
        max_delay=120,
        max_elapsed=3600,
        give_up_on=("forbidden",),
    )
    assert (card.strategy, card.attempts, card.base) == ("full_jitter", 2, 0.5)
    assert card.retries(TimeoutError())
    assert not card.retries(ValueError())
    assert launched.handler_timeout == 20


def test_types_alone_leave_the_others_to_the_gateway():
    """Nothing is said of them."""
    spec = AgentSpec.model_validate(
        {"agent_id": "a", "class_path": "a:B", "retry": {"types": {"x.*": {"attempts": 2}}}}
    )

    assert Retries(policies_of(spec.retry), {}).of("y") is None


def test_the_gateway_is_set_as_ever():
    """Three attempts, after one and after four seconds."""
    assert GatewaySettings().retry.as_terms() == AS_EVER


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("attempts: 0", "attempts"),
        ("attempts: 101", "attempts"),
        ("base: soon", "not a duration"),
        ("max_delay: 2d", "max_delay"),
        ("strategy: hopeful", "strategy"),
        ("factor: .inf", "factor"),
        ("tries: 3", "unknown field"),
        ("types: {'x y': {attempts: 2}}", "no pattern"),
    ],
)
def test_mistakes_are_named(tmp_path, line, words):
    """With the file and the line."""
    (tmp_path / "a.yaml").write_text(f"agent_id: a\nclass_path: a:B\nretry:\n  {line}\n")

    with pytest.raises(SpecInvalid) as found:
        load_specs(tmp_path)

    assert words in found.value.message
    assert "a.yaml:4" in found.value.message


def test_a_pattern_that_is_none_is_refused():
    """Where the agent is made."""
    with pytest.raises(UsageError):
        Retries({"x y": RetryPolicy()}, {})
