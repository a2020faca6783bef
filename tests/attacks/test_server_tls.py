"""What testssl.sh finds at the port of a server: nothing above low (S37)."""

import asyncio
import json
import shutil

import pytest
from support.server_process import server_process
from support.systems import live_system

TESTSSL = shutil.which("testssl") or shutil.which("testssl.sh")
WEAK = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
UNTESTED = {"secure_client_renego", "BREACH"}
"""What testssl.sh says it cannot try without a certificate; gRPC neither renegotiates nor compresses in TLS."""


@pytest.mark.slow
@pytest.mark.skipif(TESTSSL is None, reason="testssl.sh is not installed")
async def test_s37_testssl_finds_no_weakness(server_url):
    """Protocols, ciphers, forward secrecy, vulnerabilities: `testssl -p -s -f -U`."""
    async with live_system(server_url, agents=["alice"]) as system, server_process(system) as server:
        found = system.folder / "found.json"
        looking = await asyncio.create_subprocess_exec(
            TESTSSL, "-p", "-s", "-f", "-U", "--quiet", "--color", "0", "--warnings", "off",
            "--jsonfile", str(found), f"localhost:{server.port}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.wait_for(looking.wait(), 300)
        findings = json.loads(found.read_text())

    assert [item for item in findings if item["severity"] in WEAK] == []
    assert {item["id"] for item in findings if item["severity"] == "WARN"} <= UNTESTED
    by_id = {item["id"]: item["finding"] for item in findings}
    assert "not offered" in by_id["TLS1_1"]
    assert by_id["TLS1_2"].startswith("offered")
    assert by_id["TLS1_3"].startswith("offered")
    assert len(findings) > 30
