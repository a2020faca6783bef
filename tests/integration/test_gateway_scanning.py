"""What the gateway does about sensitive data: per route, to a key, and with no digit of it left behind."""

import base64
import json
import re

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import ConfigurationError, PayloadBlocked
from mas_core.model.policy import Route
from mas_core.ops.dlp import decrypt_value
from mas_core.security.dlp.sealed_values import new_private_key, public_half
from mas_core.settings.private_files import write_private

CARD = "5500 0055 5555 5559"
DIGITS = CARD.replace(" ", "")
FORMS = {
    "plain": CARD,
    "reversed": CARD[::-1],
    "base64": base64.b64encode(CARD.encode()).decode(),
    "hex": CARD.encode().hex(),
    "full-width": "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in CARD),
    "an int": int(DIGITS),
    "a list of parts": CARD.split(),
    "a key": {CARD: 1},
    "key and value": {CARD[:9]: CARD[10:]},
    "JSON in a string": json.dumps({"n": CARD}),
    "over lines": CARD.replace(" ", "\n"),
}


@pytest.fixture
async def system(server_url):
    """alice may talk to bob and to carol."""
    async with live_system(
        server_url, agents=["alice", "bob", "carol"], allow=[("alice", "bob"), ("alice", "carol")]
    ) as opened:
        yield opened


def has_digits_of_the_card(text):
    """Whether five digits in a row of it, in either direction, stand in a text without its separators."""
    plain = re.sub(r"[^0-9]", "", text)
    runs = {way[start : start + 5] for way in (DIGITS, DIGITS[::-1]) for start in range(len(DIGITS) - 4)}
    return any(run in plain for run in runs - {"55555", "00555"})


@pytest.mark.parametrize("form", FORMS)
async def test_s17_nothing_of_a_redacted_card_is_left(system, form, capfd):
    """S17: not in message, receipt, audit, log or error text, in whatever form it was written."""
    await system.change_policy(dlp_actions={"card": "redact"})
    bob = await system.run("bob")
    alice = await system.run("alice")

    receipt = await alice.send("bob", "pay", {"data": FORMS[form]})
    await until(lambda: bob.messages)
    await system.change_policy(dlp_actions={"card": "block"})
    with pytest.raises(PayloadBlocked) as caught:
        await alice.send("bob", "pay", {"data": FORMS[form]})

    assert receipt.decision == "redacted"
    records = [str(record.findings) + record.reason for record in await system.audit(decision="redacted")]
    printed = capfd.readouterr()
    for text in (
        json.dumps(bob.messages[0].data),
        str(receipt.findings) + receipt.reason,
        str(caught.value) + caught.value.reason if hasattr(caught.value, "reason") else str(caught.value),
        *records,
    ):
        assert not has_digits_of_the_card(re.sub(r"start=\d+|end=\d+", "", text))
    assert DIGITS not in re.sub(r"\D", "", printed.out + printed.err)


async def test_p4_actions_of_a_route_win_over_those_for_all(system):
    """P4: what is blocked for everybody may be let through between two agents, and the reverse."""
    await system.change_policy(
        dlp_actions={"card": "block"},
        routes=(
            Route("alice", "bob", "pay.*", dlp={"pci": "alert"}),
            Route("alice", "carol", dlp={"email": "block"}),
        ),
    )
    alice = await system.run("alice")

    assert (await alice.send("bob", "pay.card", {"card": CARD})).decision == "alert"
    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "note", {"card": CARD})
    with pytest.raises(PayloadBlocked):
        await alice.send("carol", "note", {"to": "jane@example.org"})
    assert (await alice.send("bob", "note", {"to": "jane@example.org"})).decision == "alert"


async def test_p4_found_values_are_encrypted_to_a_named_key(system, tmp_path):
    """P4: the receiver gets a sealed value in its place, and only the holder of the private key reads it."""
    private_key = new_private_key()
    write_private(tmp_path / "finance.key", private_key.encode())
    await system.change_policy(
        dlp_actions={"card": "encrypt:finance"}, dlp_keys={"finance": public_half(private_key)}
    )
    bob = await system.run("bob")
    alice = await system.run("alice")

    receipt = await alice.send("bob", "pay", {"order": 7, "card": f"it is {CARD}."})
    await until(lambda: bob.messages)

    assert receipt.decision == "redacted"
    assert receipt.findings[0].action == "encrypt:finance"
    received = bob.messages[0].data
    assert re.fullmatch(r"it is \[SEALED:finance:[A-Za-z0-9_-]+\]\.", received["card"])
    assert decrypt_value(received, tmp_path / "finance.key") == ({"order": 7, "card": f"it is {CARD}."}, 1)


async def test_a_policy_that_names_no_such_key_does_not_come_into_force(system):
    """The last good policy stays: nothing passes in the clear because a key is missing."""
    await system.change_policy(dlp_actions={"card": "block"})
    with pytest.raises(ConfigurationError):
        await system.change_policy(dlp_actions={"card": "encrypt:nobody"})
    alice = await system.run("alice")

    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "pay", {"card": CARD})
