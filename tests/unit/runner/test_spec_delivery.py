"""What an agent spec says about delivery and order reaches the instance that runs it."""

import msgspec
import pytest

from mas_core.errors import SpecInvalid
from mas_core.model.delivery_mode import DeliveryMode
from mas_core.runner.class_loading import ClassLoader
from mas_core.runner.instance_process import make_agent
from mas_core.runner.launch import ConnectionFacts, Launch
from mas_core.settings.agent_spec import AgentSpec, load_specs
from mas_core.settings.private_files import write_private

SPEC = """\
agent_id: billing
class_path: billing:Billing
delivery: exactly_once
ordered: true
"""
CLASS = "from mas_core import Agent\n\n\nclass Billing(Agent):\n    pass\n"


def launched(folder, spec):
    """The instance of a spec, as its process makes it."""
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    write_private(tokens / "billing.token", b"token")
    connection = ConnectionFacts(url="memory://spec-delivery", tokens_dir=str(tokens))
    text = msgspec.json.encode(spec.model_dump(mode="json", by_alias=True, exclude_unset=True))
    launch = Launch(
        spec=msgspec.json.decode(text), number=1, connection=connection, folder=str(folder), status_fd=0
    )
    return make_agent(launch, ClassLoader([folder]))


def test_a_spec_says_how_its_agent_takes_messages(tmp_path):
    """For messages whose senders do not say; without it, at least once and side by side."""
    (tmp_path / "billing.py").write_text(CLASS)
    (tmp_path / "billing.yaml").write_text(SPEC)
    (spec,) = load_specs(tmp_path)
    agent = launched(tmp_path, spec)

    assert (agent._delivery, agent._ordered) == (DeliveryMode.EXACTLY_ONCE, True)
    assert (
        AgentSpec(agent_id="a", class_path="a:B").delivery,
        AgentSpec(agent_id="a", class_path="a:B").ordered,
    ) == (
        None,
        False,
    )


def test_another_way_of_delivery_is_an_error_with_its_line(tmp_path):
    """As with all that a spec says."""
    (tmp_path / "billing.yaml").write_text(SPEC.replace("exactly_once", "twice"))

    with pytest.raises(SpecInvalid, match=r"billing.yaml:3"):
        load_specs(tmp_path)
