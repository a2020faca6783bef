"""What reads the whole audit says how far it is."""

from __future__ import annotations

from support.systems import live_system

from mas_core.model.policy import PolicyDocument
from mas_core.ops import audit_report, evidence, policy_simulation


async def test_what_reads_the_audit_tells_how_far_it_is(server_url):
    """Verification, report and simulation count on, up to what they say at the end."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as running:
        await running.run("bob")
        alice = await running.client("alice")
        for number in range(3):
            await alice.send("bob", "x", {"n": number})
        verified: list[int] = []
        reported: list[int] = []
        simulated: list[int] = []
        (whole, *_) = await evidence.verify_evidence(running.system, told=verified.append)
        report = await audit_report.report(running.system, told=reported.append)
        found = await policy_simulation.simulate(
            running.system, PolicyDocument(), since=0, told=simulated.append
        )

    assert verified == sorted(verified)
    assert verified[-1] == whole.result.records
    assert reported[-1] == report.records
    assert simulated == list(range(1, found.messages + 1))
    assert found.messages >= 3
