"""A project with 1,000 secrets of all kinds: in its settings, in what is sent, and in what people type."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import sys
from pathlib import Path

from support.canaries import Canaries, card_number, social_security_number, word

from mas_cli import app
from mas_core.security.tokens import derive_keys, new_token
from mas_core.settings.private_files import write_private

SEED = 20261122
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

MODULE = """
import logging
from pathlib import Path

from pydantic import BaseModel

from mas_core import Agent
from mas_core.base.logs import log_to_stderr

log_to_stderr(logging.DEBUG, of_everybody=True)
logging.getLogger().setLevel(logging.DEBUG)


class Number(BaseModel):
    number: int


class Worker(Agent):
    async def on_message(self, message):
        return None

    @Agent.on("work.crash")
    async def crash(self, message):
        raise ValueError(f"cannot handle {message.data} of {message!r}")

    @Agent.on("work.model", model=Number)
    async def model(self, message, payload):
        return None


class Crashing(Agent):
    def __init__(self, name, **options):
        password = Path(__file__).parents[1].joinpath("secrets/database").read_text()
        raise RuntimeError(f"cannot reach postgresql://app:{password}@db.example/app")
"""

PROGRAM = """\
import json, sys
for line in sys.stdin:
    print(json.dumps({"error": "cannot do " + line}), flush=True)
"""

PLUG_IN = """
from pathlib import Path


def fetch(place):
    return Path(__file__).with_name(place).read_text()
"""


class Seeded:
    """A project with its secrets."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.out = root, root / "demo", root / "out"
        self.chance = random.Random(SEED)
        self.canaries = Canaries()
        add = self.canaries.add
        self.cards = [add("card", card_number(self.chance)) for _ in range(400)]
        self.numbers = [add("ssn", social_security_number(self.chance)) for _ in range(100)]
        self.cloud = [add("cloud key", "AKIA" + word(self.chance, 16, UPPER)) for _ in range(200)]
        self.github = [add("github token", f"ghp_{word(self.chance, 36)}") for _ in range(100)]
        self.texts = self.words("payload", 150)
        self.urls = iter(self.words("password in a URL", 10))
        self.server_password = self.word("password of the server")
        self.gateway_key = add("gateway key", self.chance.randbytes(32).hex())
        self.wrong_tokens = [add("wrong token", new_token(self.chance.randbytes(32))) for _ in range(50)]

    def word(self, kind: str) -> str:
        return self.canaries.add(kind, word(self.chance))

    def words(self, kind: str, count: int) -> list[str]:
        return [self.word(kind) for _ in range(count)]

    def mas(self, *words: str, stdin: str = "") -> int:
        """Run `mas` in this process; what it prints is kept in a file."""
        number = len(list(self.out.iterdir()))
        with (
            (self.out / f"{number:02}-{words[0]}.txt").open("w+") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            return app.main(words)

    def add_token(self, agent_id: str, token: str) -> None:
        """Look for a token, and for every key that derives from it."""
        self.canaries.add("token", token)
        text = token.removeprefix("mas_")
        self.canaries.add("bytes of a token", base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:32])
        keys = derive_keys(token, agent_id)
        for key in (keys.seal_key, keys.signing_key, keys.encryption_key):
            self.canaries.add("key of a token", key.private_bytes_raw())

    def add_file(self, path: Path) -> None:
        """Look for the private keys that a file holds, whole and in their lines; in others for every long word."""
        text = path.read_text()
        if path.suffix == ".pem":
            for block in re.findall(r"BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL):
                self.canaries.add("private key", base64.b64decode(block))
                for line in block.split():
                    self.canaries.add("line of a private key", line)
            return
        for one in re.findall(r"[A-Za-z0-9+/=_-]{32,}", text):
            self.canaries.add("secret of a login", one)

    def make(self) -> None:
        """Write the project, with references to the secrets that its settings need."""
        agents = self.folder / "agents.d"
        self.out.mkdir()
        assert self.mas("init", str(self.folder)) == 0
        for path in agents.iterdir():
            path.unlink()
        (agents / "worker.py").write_text(MODULE)
        (agents / "program.py").write_text(PROGRAM)
        worker = "class_path: worker:Worker\nretry: {attempts: 1}\n"
        (agents / "worker.yaml").write_text(f"agent_id: worker\n{worker}")
        (agents / "vaulted.yaml").write_text(f"agent_id: vaulted\n{worker}")
        (agents / "crashing.yaml").write_text(
            "agent_id: crashing\nclass_path: worker:Crashing\nrestart: never\n"
        )
        (agents / "program.yaml").write_text(
            f"agent_id: program\nexec: [{sys.executable}, {agents}/program.py]\nretry: {{attempts: 1}}\n"
        )
        with (self.folder / "mas.yaml").open("a") as settings:
            settings.write(
                f"url: unix://:${{cmd:cat secrets/server}}@{self.root}/s/server.sock\n"
                "events: {record: true}\n"
                "gateway: {features: {message_signing: true}}\n"
            )
        with (self.folder / "policy.yaml").open("a") as policy:
            policy.write(
                "routes:\n"
                "  - {route: operator -> worker, types: [work.*], dlp: {pci: redact, secret: redact}}\n"
                "  - {route: operator -> worker, types: [safe.*], dlp: {pci: 'encrypt:finance'}}\n"
                "dlp_keys:\n  finance: CY6Tl0Kdmf7L1Mcr-6uYtFfs3sHYTMRVGwGTZVkU4Ew\n"
            )
        for name in ("secrets", ".mas", ".mas/keys"):
            (self.folder / name).mkdir(mode=0o700)
        write_private(self.folder / "secrets/server", self.server_password.encode() + b"\n")
        write_private(self.folder / "secrets/database", self.word("password of a database").encode())
        write_private(self.folder / "secrets/passphrase", self.word("passphrase").encode())
        write_private(self.folder / ".mas/keys/gateway.key", b"env:CANARY_GATEWAY_KEY\n")

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CANARY_GATEWAY_KEY": self.gateway_key,
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "PYTHONPATH": str(self.root / "plug-in"),
        }
