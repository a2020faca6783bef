"""Secrets of agents: a spec says where they are, the instance fetches them, and nothing shows them."""

import json
import sys

import msgspec
import pytest
from pydantic import SecretStr

from mas_core.errors import SecretUnavailable, SpecInvalid
from mas_core.runner.class_loading import ClassLoader
from mas_core.runner.instance_process import make_agent
from mas_core.runner.launch import ConnectionFacts, Launch
from mas_core.settings.agent_spec import load_specs
from mas_core.settings.private_files import write_private

CLASS = """\
from mas_core import Agent


class Billing(Agent):
    def __init__(self, name, *, api_key, region, **options):
        super().__init__(name, **options)
        self.api_key, self.region = api_key, region
"""


def launch_of(folder, text):
    """The launch of the instance of a spec, and what is said about it."""
    specs = folder / "agents.d"
    specs.mkdir()
    (specs / "billing_secrets.py").write_text(CLASS)
    (specs / "billing.yaml").write_text(f"agent_id: billing\n{text}")
    (spec,) = load_specs(specs)
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    write_private(tokens / "billing.token", b"token")
    return Launch(
        spec=json.loads(msgspec.json.encode(spec.model_dump(mode="json", by_alias=True, exclude_unset=True))),
        number=1,
        connection=ConnectionFacts(url="memory://spec-secrets", tokens_dir=str(tokens)),
        folder=str(folder),
        status_fd=0,
    )


def test_a_class_gets_its_secrets_as_arguments(tmp_path, monkeypatch):
    """By name, beside its other arguments; paths are relative to the spec, and the launch has none of them."""
    launch = launch_of(
        tmp_path,
        "class_path: billing_secrets:Billing\ninit_kwargs: {region: eu}\nsecrets: {api_key: 'file:api.key'}\n",
    )
    write_private(tmp_path / "agents.d" / "api.key", b"hunter2-of-billing\n")

    agent = make_agent(launch, ClassLoader([tmp_path / "agents.d"]))

    assert isinstance(agent.api_key, SecretStr)
    assert (agent.api_key.get_secret_value(), agent.region) == ("hunter2-of-billing", "eu")
    assert "hunter2" not in repr(launch) + repr(agent) + repr(vars(agent))


async def test_a_program_gets_its_secrets_in_its_environment(tmp_path, monkeypatch):
    """And no other process does."""
    monkeypatch.setenv("OUR_API_KEY", "hunter2-of-billing")
    show = "import os; print(os.environ['API_KEY'])"
    launch = launch_of(
        tmp_path,
        f"exec: [{sys.executable}, -c, \"{show}\"]\nmode: per_message\nsecrets: {{API_KEY: 'env:OUR_API_KEY'}}\n",
    )
    agent = make_agent(launch, ClassLoader([tmp_path]))

    class Message:
        message_type, data = "any", {}

    assert await agent._run_once(Message) == "hunter2-of-billing"


def test_an_agent_without_its_secret_does_not_start(tmp_path):
    """It is said which one is missing."""
    launch = launch_of(tmp_path, "exec: [cat]\nsecrets: {API_KEY: 'file:not-there'}\n")

    with pytest.raises(SecretUnavailable, match="not-there"):
        make_agent(launch, ClassLoader([tmp_path]))


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ("{API_KEY: hunter2}", "does not stand here itself"),
        ("{API-KEY: 'env:X'}", "match pattern"),
        ("{token: 'env:X'}", "is given by the runner"),
        ("{region: 'env:X'}", "is in init_kwargs"),
    ],
)
def test_what_is_no_reference_is_refused_and_not_repeated(tmp_path, secrets, reason):
    """A secret in the spec itself would be in version control."""
    with pytest.raises(SpecInvalid, match=reason) as caught:
        launch_of(tmp_path, f"class_path: a:B\ninit_kwargs: {{region: eu}}\nsecrets: {secrets}\n")

    assert "hunter2" not in str(caught.value) + str(caught.value.details)
