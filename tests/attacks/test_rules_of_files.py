"""What becomes of the rules when policy.yaml is broken or removed while a system runs (S12)."""

import dataclasses

import pytest
from support.systems import live_system

from mas_core.errors import Forbidden, SpecInvalid
from mas_core.ops.agent_runs import put_in_force
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config

GOOD = "rules: [{allow: alice -> bob}]\n"


@pytest.fixture
async def system(server_url):
    """alice and bob in a project whose policy.yaml lets alice send to bob."""
    async with live_system(server_url, agents=["alice", "bob"]) as opened:
        (opened.folder / "mas.yaml").write_text("name: demo\n")
        (opened.folder / "tokens").mkdir(mode=0o700)
        opened.system.target = dataclasses.replace(opened.system.target, tokens_dir=opened.folder / "tokens")
        yield opened


async def reload(system, text):
    """What `mas up --reload` does when the file changes."""
    path = system.folder / "policy.yaml"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    loaded = load_config(project_at(system.folder))
    await put_in_force(system.system, loaded, [], loaded.policy([]))


@pytest.mark.parametrize(
    "broken",
    [
        "rules: [{allow: alice -> bob}, {allow: alice}]\n",
        "rules: [\n",
        "rules: [{permit: alice -> bob}]\n",
        "rules: [{deny: alice -> bob}]\nrules: []\n",
        "\x00",
        "rules: [{allow: 'adm* -> bob'}]\n",
    ],
)
async def test_s12_a_broken_file_keeps_the_last_good_rules(system, broken):
    """It is an error with the line, and neither opens nor closes anything."""
    alice = await system.run("alice")
    await reload(system, GOOD)
    await alice.send("bob", "x", {})
    before = await system.system.policy.load()

    with pytest.raises(SpecInvalid) as caught:
        await reload(system, broken)

    assert caught.value.details["path"].endswith("policy.yaml")
    assert await system.system.policy.load() == before
    await alice.send("bob", "x", {})


@pytest.mark.parametrize("nothing", [None, "", "rules: []\n"], ids=["removed", "empty", "without rules"])
async def test_s12_without_the_file_its_rules_are_gone(system, nothing):
    """What no rule allows any more is denied; rules given by command stay."""
    alice = await system.run("alice")
    await system.allow(("alice", "bob"), type="by.command")
    await reload(system, GOOD)
    await alice.send("bob", "x", {})

    await reload(system, nothing)

    with pytest.raises(Forbidden, match="alice may not send"):
        await alice.send("bob", "x", {})
    await alice.send("bob", "by.command", {})
