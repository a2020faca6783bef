"""Tokens that are kept elsewhere: they work, and nothing puts a new one in the place of the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.systems import live_system

from mas_core.errors import Conflict, SecretUnavailable
from mas_core.ops import agents
from mas_core.settings.private_files import private_dir, token_path, write_token


@pytest.fixture
async def system(server_url, monkeypatch):
    """alice's token is in a variable."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        monkeypatch.setenv("ALICE_TOKEN", opened.tokens["alice"])
        tokens_dir = private_dir(opened.folder / ".mas" / "tokens")
        write_token(tokens_dir, "alice", "env:ALICE_TOKEN")
        opened.system.target = replace(opened.system.target, tokens_dir=tokens_dir)
        yield opened


async def test_an_agent_runs_with_a_token_by_reference(system):
    """As an argument, and in its file, where an operator's commands find it."""
    alice = await system.run("alice", token="env:ALICE_TOKEN")
    async with system.system.client("alice") as client:
        receipts = [await sender.send("bob", "note", {}) for sender in (alice, client)]

    assert [receipt.decision for receipt in receipts] == ["allowed", "allowed"]


async def test_a_rotation_does_not_replace_a_reference(system):
    """It would stand in the clear where nobody looks for it; shown, it can be put where the old one is."""
    operated = system.system
    with pytest.raises(Conflict, match="is kept in env:ALICE_TOKEN") as caught:
        await agents.rotate_token(operated, "alice")

    assert caught.value.hint[0] == "mas agent token rotate alice --show"
    issued = await agents.rotate_token(operated, "alice", show=True)
    assert issued.token.startswith("mas_")
    assert token_path(operated.target.tokens_dir, "alice").read_text() == "env:ALICE_TOKEN\n"


async def test_a_token_that_cannot_be_had_now_is_not_replaced(system, monkeypatch):
    """`mas up` says what is missing and makes no other token: the vault comes back, and the agents with it."""
    before = await system.system.registry.get("alice")
    monkeypatch.delenv("ALICE_TOKEN")

    with pytest.raises(SecretUnavailable, match="env:ALICE_TOKEN"):
        await agents.ensure_registered(system.system, "alice", source="project")

    after = await system.system.registry.get("alice")
    assert after.registration.keys == before.registration.keys
