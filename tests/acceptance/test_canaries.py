"""S7, S42 and the canary test: 1,000 known secrets go through a whole system, and none is left anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.seeded_project import PLUG_IN, Seeded

from mas_core.agent.client import Client
from mas_core.errors import MasError
from mas_core.ops.system import System
from mas_core.settings.private_files import write_private
from mas_core.settings.target import resolve_target
from mas_core.store.server_program import find_server_program

pytestmark = pytest.mark.slow

FILES_FOR_SECRETS = (
    "demo/.mas/tokens/*",
    "demo/.mas/keys/**/*",
    "demo/.mas/certs/server.pem",
    "demo/.mas/certs/agents/*",
    "demo/.mas/certs/ca/authority.pem",
    "demo/secrets/*",
    "home/.config/mas/contexts/*",
)
"""Made to hold secrets, for their owner alone."""


FILES_WITH_KEYS = (
    "demo/.mas/tokens/*.pem",
    "demo/.mas/tokens/*.redis",
    "demo/.mas/keys/server-users/*",
    "demo/.mas/certs/**/*.pem",
    "demo/secrets/*.operator",
)


@pytest.fixture
def seeded(tmp_path, monkeypatch) -> Iterator[Seeded]:
    """A project whose server runs; nothing else does yet."""
    for name in os.environ:
        if name.startswith(("MAS_", "GATEWAY_", "REDIS_", "XDG_")):
            monkeypatch.delenv(name)
    # The paths of sockets are short.
    root = tmp_path / "r"
    made = Seeded(root)
    for name in ("s", "home", "tmp"):
        (root / name).mkdir(parents=True)
    made.make()
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.folder)
    facts = root / "plug-in" / "canary-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: canary\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[mas.secrets]\ncanary = canary_vault:fetch\n")
    (root / "plug-in" / "canary_vault.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(str(root / "plug-in"))
    program = asyncio.run(find_server_program())
    settings = (
        f"port 0\nunixsocket {root}/s/server.sock\nrequirepass {made.server_password}\ndir {root}/s\n"
        f"logfile {root}/s/server.log\nloglevel debug\nappendonly yes\nappendfsync always\nrdbcompression no\n"
        'aof-use-rdb-preamble no\nmaxmemory-policy noeviction\nsave ""\n'
    )
    with subprocess.Popen([program, "-"], stdin=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        server.stdin.write(settings)
        server.stdin.close()
        try:
            yield made
        finally:
            server.terminate()


def children_of(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for path in Path("/proc", str(pid), "task").glob("*/children"):
        for child in path.read_text().split():
            yield from children_of(int(child))


def of_processes(name: str, pids: Iterator[int]) -> dict[str, bytes]:
    """The command lines or the environments of processes."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            path = Path("/proc", str(pid), name)
            found[f"{path} of {path.with_name('cmdline').read_bytes()[:200]!r}"] = path.read_bytes()
    return found


async def talk(seeded: Seeded) -> None:
    """Send what is redacted, encrypted, blocked and refused, and what handlers fail at."""
    async with System(resolve_target()) as system:
        async with system.client("operator") as client:
            for at, kind in enumerate(("work.crash", "safe.done", "open.blocked", "work.done")):
                keys = itertools.cycle([*seeded.cloud, *seeded.github][at * 75 : at * 75 + 75])
                cards = seeded.cards[at * 100 : at * 100 + 100]
                some = [
                    {"note": f"paid with {card} by {number}", "key": f"use {key}"}
                    for card, number, key in zip(cards, seeded.numbers, keys, strict=False)
                ]
                await client.send_many("worker", kind, some)
            await client.send_many("worker", "work.crash", [{"note": text} for text in seeded.texts[:50]])
            await client.send_many(
                "worker", "work.model", [{"number": text} for text in seeded.texts[50:100]]
            )
            await client.send_many("program", "work.do", [{"note": text} for text in seeded.texts[100:]])
            await client.send_many("nobody", "work.do", [{"note": text} for text in seeded.texts[:5]])
            for text in seeded.texts[:5]:
                with contextlib.suppress(MasError):
                    await client.request("worker", "work.crash", {"note": text}, timeout=5)
            for at, wrong in enumerate(
                (b'{"status":"%s"}', b'{"%s":1,"%s":2}', b"%s%s", b'{"at_once":"%s"}')
            ):
                asking = client._envelopes.to_gateway("mas.attach", None)
                text = seeded.texts[at].encode()
                asking.data = wrong % ((text,) * wrong.count(b"%s"))
                with pytest.raises(MasError):
                    await client._ask(asking, 5, 0)
            with contextlib.suppress(MasError):
                await client.request("vote:canary", "vote.open", {"rule": seeded.texts[0]}, timeout=5)
        await system.store.connection.call("SAVE")
        for token in seeded.wrong_tokens:
            with pytest.raises(MasError):
                async with Client(system.store, "worker", token):
                    pass


def own_url(seeded: Seeded) -> str:
    """With the password in the clear."""
    return f"unix://:{seeded.server_password}@{seeded.root}/s/server.sock"


def work(seeded: Seeded) -> None:
    """What people do with a system, with what goes wrong on the way."""
    mas, out = seeded.mas, seeded.out
    asyncio.run(talk(seeded))
    assert mas("event", "emit", "order.paid", json.dumps({"with": seeded.cards[0]})) != 0
    assert mas("dlq", "list", "--limit", "0", "-o", "json") == 0
    letters = json.loads(next(out.glob("*-dlq.txt")).read_text())
    assert len(letters) >= 200
    assert mas("dlq", "get", letters[0]["id"]) == 0
    mas("audit", "list", "--limit", "500", "-o", "json")
    mas("trace", letters[0]["message_id"], "-o", "json")
    mas("key", "generate", "worker", "--type", "x25519")
    assert mas("agent", "token", "rotate", "program") == 0
    assert mas("cert", "ca") == 0
    assert mas("cert", "issue", "worker") == 0
    assert mas("cert", "issue", "localhost", "--for", "server") == 0
    operator = str(seeded.folder / "secrets/ann.operator")
    assert mas("operator", "add", "ann", "--role", "auditor", "--out", operator) == 0
    seeded.add_file(Path(operator))
    assert mas("operator", "token", "rotate", "ann", "--out", operator, "--yes") == 0
    assert mas("context", "add", "of-ann", "--url", own_url(seeded), "--operator", operator) == 0
    mas("audit", "list", "--context", "of-ann")
    assert mas("agent", "token", "rotate", "vaulted") != 0
    # What somebody types must not be recorded as it was typed.
    assert mas("rbac", "allow", "worker", "program", "--url", own_url(seeded)) == 0
    for url in (
        f"redis://app:{next(seeded.urls)}@127.0.0.1:1/0",
        f"rediss://:{next(seeded.urls)}@127.0.0.1:1?password={next(seeded.urls)}",
        f"redis+cluster://app:{next(seeded.urls)}@127.0.0.1:1,127.0.0.1:2",
        f"unix://:{next(seeded.urls)}@{seeded.root}/nothing.sock",
        f"unix://:{next(seeded.urls)}@{seeded.root}/s/server.sock",
        f"redis:/app:{next(seeded.urls)}@nowhere",
    ):
        assert mas("status", "--url", url, "--debug") != 0
    context = seeded.root / "home/.config/mas/contexts"
    assert mas("context", "add", "other", "--url", f"redis://:{next(seeded.urls)}@127.0.0.1:1/0") == 0
    assert list(context.iterdir())
    mas("context", "list", "-o", "json")
    mas("status", "--context", "other", "--debug")
    mas("config", "where", "--unmask", "-o", "json")
    mas("audit", "export", "--format", "jsonl", "--out", str(out / "audit.jsonl"))
    mas("audit", "export", "--evidence", str(out / "evidence"))
    mas("audit", "report", "--out", str(out / "report.html"))
    mas("backup", "create", "--out", str(out / "plain.backup"))
    sealed = ("--keys", "--passphrase-file", str(seeded.folder / "secrets/passphrase"))
    mas("backup", "create", "--out", str(out / "sealed.backup"), *sealed)
    mas("doctor", "--bundle", str(out / "bundle.zip"), "--yes")
    mas("record", "--out", str(out / "recorded.jsonl"), "--for", "100ms")
    mas("metrics")
    assert mas("send", "worker", "note.add", "{}", "--as", "vaulted") != 0
    assert mas("redis-users", "apply") == 0
    assert mas("agent", "provision", "worker") == 0
    assert mas("redis-users", "list") == 0


def test_s7_none_of_a_thousand_canaries_is_left_anywhere(seeded):
    """No file, no command line and no agent's environment shows one, while it runs and after it has ended."""
    canaries, root = seeded.canaries, seeded.root
    up = [sys.executable, "-m", "mas_cli", "up", "--detach"]
    done = subprocess.run(up, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    (seeded.out / "up.txt").write_text(done.stdout + done.stderr)
    try:
        assert "crashing" in done.stdout + done.stderr
        tokens = seeded.folder / ".mas" / "tokens"
        for path in tokens.glob("*.token"):
            seeded.add_token(path.stem, path.read_text().strip())
        moved = (tokens / "vaulted.token").read_text()
        write_private(root / "plug-in" / "vaulted", moved.encode())
        write_private(tokens / "vaulted.token", b"vault:canary:vaulted\n")
        work(seeded)
        for pattern in FILES_WITH_KEYS:
            for path in root.glob(pattern):
                seeded.add_file(path)
        pid = int((seeded.folder / ".mas/run/lock").read_text())
        shown = of_processes("cmdline", children_of(pid))
        inherited = of_processes("environ", children_of(pid))
    finally:
        assert seeded.mas("down") == 0
    assert len(canaries.values) >= 1_000, canaries.kinds
    write_private(seeded.out / "planted.zip", planted(seeded.cards[7]))
    files = [path for path in root.rglob("*") if path.is_file() and (root / "plug-in") not in path.parents]
    made_for = {path for pattern in FILES_FOR_SECRETS for path in root.glob(pattern) if path.is_file()}
    looked = [path for path in files if path not in made_for]

    hits = canaries.in_files(looked, root.parent / "scratch")
    agents = {where: text for where, text in inherited.items() if b"instance_process" in where.encode()}

    assert [name for where, name in hits if "planted" in where] == ["card 7, digits with '-'"]
    assert [hit for hit in hits if "planted" not in hit[0]] == []
    assert len(shown) >= 7
    assert canaries.in_texts(shown) == []
    assert len(agents) >= 3
    assert canaries.in_texts(agents) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in made_for} == {0o600}
    assert {"private key", "line of a private key", "secret of a login"} <= canaries.kinds.keys()
    kinds = {path.suffix for path in looked}
    assert {".aof", ".rdb", ".log", ".sqlite", ".jsonl", ".html", ".zip", ".yaml"} <= kinds, kinds
    assert sum(path.stat().st_size for path in looked) > 1_000_000


def planted(secret: str) -> bytes:
    """A zip that holds a secret: what finds nothing may not look."""
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("planted.txt", "-".join(secret[at : at + 4] for at in range(0, 16, 4)) * 3)
    return file.getvalue()
