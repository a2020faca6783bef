"""Public keys of agents: list them, and give agents keys of their own for end-to-end encryption.

A token gives an agent three keys at once: to seal frames, to sign, and to decrypt. A key made or imported here is
one more, for decryption only; its private half lies in a private file of the agent and nowhere else, and while
an agent has such keys, messages are encrypted for them and not for those of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mas_core.errors import Conflict, KeyNotFound, UsageError
from mas_core.model.registration import AgentKey, DecryptionKey
from mas_core.ops import agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.key_files import (
    KINDS,
    Kind,
    fingerprint,
    key_file,
    new_private_key,
    public_bytes,
    public_half,
    public_key_of,
    read_private_key,
    read_public_key,
    write_private_key,
)
from mas_core.settings.private_files import MAX_PRIVATE_BYTES

__all__ = ["KINDS", "KeyInfo", "Kind", "MadeKey", "generate", "import_key", "list_keys", "revoke", "rotate"]

TOKEN = "token"  # noqa: S105 - the name of a kind of key
DEFAULT_GRACE_S = agents.DEFAULT_OVERLAP_S


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key of an agent, as the registry knows it."""

    agent: str
    key_id: str
    type: str
    """token, x25519 or rsa."""
    status: str
    """active, ending (it counts until `expires`), expired or revoked."""
    created: int
    """Unix milliseconds."""
    expires: int
    """Unix milliseconds; 0 for never."""
    revoked: int
    """Unix milliseconds; 0 when it was not."""
    age: float
    """Seconds since it was made."""
    public_keys: dict[str, str]
    """What it is used for (sign, decrypt, seal) -> the public key for that, hex; of RSA in DER."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """What it is used for -> SHA-256 of the public key for that, hex; agents pin these."""
        return {use: fingerprint(bytes.fromhex(key)) for use, key in self.public_keys.items()}


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was added, and where its private half is; None where it is not known here."""

    info: KeyInfo
    path: Path | None


async def list_keys(system: System, agent_ids: Sequence[str] = ()) -> list[KeyInfo]:
    """The keys of these agents, or of all; by agent, newest first.

    Raises:
        AgentNotFound: One is not registered.
    """
    await agents.require_agents(system, *agent_ids)
    now = await system.store.connection.time_ms()
    entries = await system.registry.entries(agent_ids or None)
    return [
        info
        for entry in sorted(entries, key=lambda entry: entry.agent_id)
        for info in (
            *(_of_file(entry.agent_id, key, now) for key in entry.registration.decryption_keys),
            *(_of_token(entry.agent_id, key, now) for key in entry.registration.keys),
        )
    ]


@named("key.generate", "agent_id")
async def generate(
    system: System, agent_id: str, kind: Kind = "x25519", *, out: Path | None = None, expires_in: float = 0
) -> MadeKey:
    """Make a key pair for an agent: the public half goes to the registry, the private one to a private file.

    Args:
        system: The system.
        agent_id: Whose key it is.
        kind: `x25519` for HPKE, or `rsa` for RSA-OAEP.
        out: Where the private half goes; beside the agent's token when left out.
        expires_in: Seconds until nobody encrypts for it any more; 0 for never.

    Raises:
        AgentNotFound: The agent is not registered.
        Conflict: There is a file at `out`.
        UsageError: There is no folder of tokens, and no `out`.
    """
    return await _add(system, agent_id, kind, out, expires_in, grace=None)


@named("key.rotate", "agent_id")
async def rotate(
    system: System,
    agent_id: str,
    kind: str = "",
    *,
    grace: float = DEFAULT_GRACE_S,
    out: Path | None = None,
    expires_in: float = 0,
) -> MadeKey:
    """Make a new key in place of an agent's older ones of its kind, which count a little longer.

    Args:
        system: The system.
        agent_id: Whose key it is.
        kind: `token`, `x25519` or `rsa`; what its newest key is when left out. A new token is what
            `mas agent token rotate` makes.
        grace: Seconds for which the older ones still count.
        out: Where the private half goes; beside the agent's token when left out.
        expires_in: Seconds until the new one expires; 0 for never.

    Raises:
        AgentNotFound, Conflict, UsageError: As for `generate`.
    """
    entry = await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    valid = [key.kind for key in entry.registration.decryption_keys if key.is_valid(now)]
    kind = kind or (valid[0] if valid else TOKEN)
    if kind != TOKEN:
        return await _add(system, agent_id, _kind(kind), out, expires_in, grace=grace)
    if out is not None:
        raise UsageError("a token goes to the folder of tokens", hint=f"mas agent token rotate {agent_id}")
    issued = await agents.rotate_token(system, agent_id, overlap=grace, expires_in=expires_in)
    (info,) = [item for item in await list_keys(system, [agent_id]) if item.key_id == issued.key_id]
    return MadeKey(info, issued.path)


@named("key.import", "agent_id")
async def import_key(
    system: System, agent_id: str, path: Path, *, out: Path | None = None, expires_in: float = 0
) -> MadeKey:
    """Add a key that exists already, in PEM; of a private one the public half goes to the registry.

    Args:
        system: The system.
        agent_id: Whose key it is.
        path: A public key, or a private key in a file that only its owner can read.
        out: Where a private key is copied to; beside the agent's token when left out.
        expires_in: Seconds until nobody encrypts for it any more; 0 for never.

    Raises:
        AgentNotFound, Conflict, UsageError: As for `generate`.
        SecretUnavailable: It is a private key that others may read.
        ConfigurationError: It is no key, or of a kind or length that is not taken.
    """
    text = _head(path)
    now = await system.store.connection.time_ms()
    expires = now + int(expires_in * 1000) if expires_in else 0
    if b"PRIVATE KEY" in text:
        private = read_private_key(path)
        key = public_half(private, created=now, expires=expires)
        await _check_new(system, agent_id, key)
        place = _free_place(system, agent_id, key.key_id, out)
        write_private_key(place, private)
        return await _put(system, agent_id, key, place, now, grace=None)
    key = public_half(read_public_key(text, str(path)), created=now, expires=expires)
    await _check_new(system, agent_id, key)
    return await _put(system, agent_id, key, None, now, grace=None)


@named("key.revoke", "agent_id")
async def revoke(system: System, agent_id: str, key_id: str = "") -> list[KeyInfo]:
    """End a key of an agent, or all of them and its tokens; in force when this returns.

    Returns:
        The keys that were revoked.

    Raises:
        AgentNotFound: The agent is not registered.
        KeyNotFound: It has no such key that still counts.
    """
    entry = await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    both: tuple[AgentKey | DecryptionKey, ...] = (
        *entry.registration.keys,
        *entry.registration.decryption_keys,
    )
    wanted = {key.key_id for key in both if not key.revoked and key_id in ("", key.key_id)}
    if not wanted:
        raise KeyNotFound(
            f"{agent_id} has no key {key_id} that could be revoked".replace("  ", " "),
            hint=f"mas key list {agent_id}",
        )
    tokens = [key.key_id for key in entry.registration.keys if key.key_id in wanted]
    if wanted - set(tokens):
        others = tuple(
            msgspec.structs.replace(key, revoked=now) if key.key_id in wanted else key
            for key in entry.registration.decryption_keys
        )
        await system.registry.put(msgspec.structs.replace(entry.registration, decryption_keys=others))
    if tokens:
        await agents.revoke_token(system, agent_id, key_id)
    return [item for item in await list_keys(system, [agent_id]) if item.key_id in wanted]


async def _add(
    system: System, agent_id: str, kind: Kind, out: Path | None, expires_in: float, *, grace: float | None
) -> MadeKey:
    await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    private = new_private_key(kind)
    key = public_half(private, created=now, expires=now + int(expires_in * 1000) if expires_in else 0)
    place = _free_place(system, agent_id, key.key_id, out)
    write_private_key(place, private)
    return await _put(system, agent_id, key, place, now, grace=grace)


async def _put(
    system: System, agent_id: str, key: DecryptionKey, path: Path | None, now: int, *, grace: float | None
) -> MadeKey:
    registration = (await system.registry.get(agent_id)).registration
    older = registration.decryption_keys
    if grace is not None:
        end = now + int(grace * 1000)
        older = tuple(
            msgspec.structs.replace(old, expires=end)
            if old.kind == key.kind and old.is_valid(now) and not 0 < old.expires <= end
            else old
            for old in older
        )
    await system.registry.put(msgspec.structs.replace(registration, decryption_keys=(key, *older)))
    return MadeKey(_of_file(agent_id, key, now), path)


async def _check_new(system: System, agent_id: str, key: DecryptionKey) -> None:
    registration = (await system.registry.get(agent_id)).registration
    if any(known.key_id == key.key_id for known in registration.decryption_keys):
        raise Conflict(f"{agent_id} has the key {key.key_id} already", hint=f"mas key list {agent_id}")


def _free_place(system: System, agent_id: str, key_id: str, out: Path | None) -> Path:
    if out is None:
        if system.target.tokens_dir is None:
            raise UsageError(
                "no folder of tokens is known for this system, so the private key would be lost",
                hint="--out FILE",
            )
        out = key_file(system.target.tokens_dir, agent_id, key_id)
    if out.exists() or out.is_symlink():
        raise Conflict(f"there is a file {out} already, and no key is overwritten", path=str(out))
    return out


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PRIVATE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error


def _kind(text: str) -> Kind:
    match text:
        case "x25519" | "rsa":
            return text
        case _:
            raise UsageError(f"{text!r} is no kind of key", hint=f"use {TOKEN}, {' or '.join(KINDS)}")


def _of_token(agent_id: str, key: AgentKey, now: int) -> KeyInfo:
    halves = {"sign": key.signing_key, "decrypt": key.encryption_key, "seal": key.seal_key}
    return _info(agent_id, key, TOKEN, now, {use: half for use, half in halves.items() if half})


def _of_file(agent_id: str, key: DecryptionKey, now: int) -> KeyInfo:
    return _info(agent_id, key, key.kind, now, {"decrypt": public_bytes(public_key_of(key)).hex()})


def _info(
    agent_id: str, key: AgentKey | DecryptionKey, kind: str, now: int, public_keys: dict[str, str]
) -> KeyInfo:
    if key.revoked:
        status = "revoked"
    elif not key.is_valid(now):
        status = "expired"
    else:
        status = "ending" if key.expires else "active"
    age = max(0.0, (now - key.created) / 1000)
    return KeyInfo(
        agent_id, key.key_id, kind, status, key.created, key.expires, key.revoked, age, public_keys
    )
