"""S7: the token of an agent is with the agent and nowhere else."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _mas(folder: Path, *words: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "GATEWAY_"))}
    return subprocess.run(
        [sys.executable, "-m", "mas_cli", *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def _traces(token: str, agent_id: str) -> dict[str, bytes]:
    """Everything by which a token, or a key that derives from it, could be recognised."""
    from mas_core.security.tokens import derive_keys

    text = token.removeprefix("mas_")
    secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:32]
    keys = derive_keys(token, agent_id)
    halves = {
        "seal": keys.seal_key.private_bytes_raw(),
        "sign": keys.signing_key.private_bytes_raw(),
        "encrypt": keys.encryption_key.private_bytes_raw(),
    }
    found = {f"token of {agent_id}": token.encode(), f"its start of {agent_id}": token[:24].encode()}
    for name, raw in {"secret": secret, **halves}.items():
        found |= {
            f"{name} of {agent_id}, raw": raw,
            f"{name} of {agent_id}, hex": raw.hex().encode(),
            f"{name} of {agent_id}, base64": base64.b64encode(raw).rstrip(b"="),
        }
    return found


def _processes() -> dict[str, bytes]:
    """The command line of every process, as `ps` shows it."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[str(path)] = path.read_bytes()
        except OSError:
            continue
    return found


def test_s7_no_file_and_no_process_shows_a_token(tmp_path):
    """Of a whole running system, after traffic, errors, a rotation and a dump of the server."""
    folder = tmp_path / "demo"
    _mas(tmp_path, "init", str(folder))
    (folder / "mas.yaml").write_text(
        (folder / "mas.yaml").read_text() + "\ngateway:\n  features:\n    message_signing: true\n"
    )
    _mas(folder, "up", "--detach")
    try:
        agents = [row["id"] for row in json.loads(_mas(folder, "agent", "list", "-o", "json"))]
        _mas(folder, "agent", "register", "billing")
        _mas(folder, "agent", "token", "rotate", "billing")
        _mas(folder, "key", "generate", "billing")
        _mas(folder, "rbac", "allow", "operator", "billing")
        for number in range(3):
            _mas(folder, "send", "billing", "note.add", json.dumps({"n": number}))
        agents.append("billing")
        traces: dict[str, bytes] = {}
        for agent_id in agents:
            traces |= _traces(
                (folder / ".mas" / "tokens" / f"{agent_id}.token").read_text().strip(), agent_id
            )
        processes = _processes()
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        own = {path for path in files if path.parent == folder / ".mas" / "tokens"}
        texts = {str(path): path.read_bytes() for path in files if path not in own}
    finally:
        _mas(folder, "down")
    dumped = [path for path in folder.rglob("*") if path.is_file() and path not in own]
    texts |= {f"{path}, stopped": path.read_bytes() for path in dumped}

    assert any("appendonly" in name for name in texts), "the server keeps no files here"
    assert any(name.endswith(".log") for name in texts)
    shown = [
        (name, where)
        for where, text in {**texts, **processes}.items()
        for name, trace in traces.items()
        if trace in text
    ]
    assert shown == []
    assert own
    assert {stat.S_IMODE(path.stat().st_mode) for path in own} == {0o600}
