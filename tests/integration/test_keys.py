"""Keys of agents over their life: made, imported, rotated, revoked."""

import asyncio
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.systems import live_system
from support.waiting import until

from mas_core.agent import peers
from mas_core.errors import (
    ConfigurationError,
    Conflict,
    GatewayDown,
    KeyNotFound,
    SecretUnavailable,
    TokenExpired,
    TokenRevoked,
)
from mas_core.model.policy import Route
from mas_core.ops import agents, keys
from mas_core.security.key_files import new_private_key, write_private_key

ROUTE = (Route("alice", "bob", e2e="require"),)


@pytest.fixture
async def system(server_url):
    """alice may talk to bob, encrypted only."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        await opened.change_policy(routes=ROUTE)
        yield opened


@pytest.mark.parametrize("kind", keys.KINDS)
async def test_an_agent_decrypts_with_a_key_of_its_own(system, kind, tmp_path):
    """Made for it, in a private file: messages are then encrypted for this key, not for the token's."""
    made = await keys.generate(system.system, "bob", kind, out=tmp_path / "bob.pem")
    await system.change_policy(e2e_suites=("rsa-oaep",) if kind == "rsa" else ("hpke", "rsa-oaep"))
    bob = await system.run("bob", private_keys=[made.path])
    alice = await system.run("alice")

    await alice.send("bob", "x", {"n": 1}, encrypt=True)
    await until(lambda: bob.messages)

    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert bob.messages[0].encrypted_for == made.info.key_id
    assert (made.info.type, made.info.status) == (kind, "active")
    assert list(made.info.fingerprints) == ["decrypt"]


async def test_a_running_agent_takes_a_key_that_was_made_since(system, monkeypatch):
    """It lies beside its token; nothing has to be started again."""
    monkeypatch.setattr(peers, "MIN_LOAD_INTERVAL_S", 0)
    folder = system.folder / "tokens"
    folder.mkdir(mode=0o700)
    object.__setattr__(system.system.target, "tokens_dir", folder)
    bob, alice = system.agent("bob"), await system.run("alice")
    await system.stack.enter_async_context(bob)
    bob._tokens_dir = folder

    made = await keys.generate(system.system, "bob")
    await alice.send("bob", "x", {"n": 1}, encrypt=True)
    await until(lambda: bob.messages)

    assert made.path.parent == folder
    assert bob.messages[0].encrypted_for == made.info.key_id


async def test_without_its_key_an_agent_cannot_read(system, tmp_path):
    """Not even with its token; what it cannot read becomes a dead letter."""
    await keys.generate(system.system, "bob", out=tmp_path / "bob.pem")
    bob, alice = await system.run("bob"), await system.run("alice")

    await alice.send("bob", "x", {"n": 1}, encrypt=True)
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert dead.reason.startswith("decryption_failed")
    assert bob.messages == []


async def test_no_file_is_overwritten_and_no_key_taken_twice(system, tmp_path):
    """Neither by making nor by importing one."""
    made = await keys.generate(system.system, "bob", out=tmp_path / "bob.pem")
    text = made.path.read_bytes()

    with pytest.raises(Conflict):
        await keys.generate(system.system, "bob", out=made.path)
    with pytest.raises(Conflict):
        await keys.import_key(system.system, "bob", made.path, out=tmp_path / "copy.pem")

    assert made.path.read_bytes() == text
    assert not (tmp_path / "copy.pem").exists()


async def test_keys_that_exist_are_imported(system, tmp_path):
    """A public key as it is; a private one is copied into a private file."""
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    write_private_key(tmp_path / "private.pem", new_private_key("x25519"))

    first = await keys.import_key(system.system, "bob", tmp_path / "public.pem")
    second = await keys.import_key(system.system, "bob", tmp_path / "private.pem", out=tmp_path / "copy.pem")

    assert first.path is None
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    listed = await keys.list_keys(system.system, ["bob"])
    assert [item.key_id for item in listed][:2] == [second.info.key_id, first.info.key_id]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", ConfigurationError),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ConfigurationError),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", SecretUnavailable),
    ],
)
async def test_what_is_no_key_is_not_imported(system, tmp_path, text, error):
    """Nor a private key in a file that others can read."""
    (tmp_path / "key.pem").write_bytes(text)

    with pytest.raises(error):
        await keys.import_key(system.system, "bob", tmp_path / "key.pem", out=tmp_path / "out.pem")


async def test_a_rotated_key_counts_for_its_grace(system, tmp_path):
    """In it messages are encrypted for both; then for the new one alone."""
    old = await keys.generate(system.system, "bob", out=tmp_path / "old.pem")
    new = await keys.rotate(system.system, "bob", grace=3600, out=tmp_path / "new.pem")
    alice = await system.run("alice")
    bob = await system.run("bob", private_keys=[old.path])
    await alice.send("bob", "x", {"n": 1}, encrypt=True)
    await until(lambda: bob.messages)

    listed = {item.key_id: item.status for item in await keys.list_keys(system.system, ["bob"])}
    (record,) = await system.audit(kind="message", decision="allowed")

    assert record.details["encryption"]["keys"] == sorted([old.info.key_id, new.info.key_id])
    assert (listed[old.info.key_id], listed[new.info.key_id]) == ("ending", "active")

    await keys.revoke(system.system, "bob", old.info.key_id)
    fresh = await system.run("alice")
    await fresh.send("bob", "x", {"n": 2}, encrypt=True)
    *_, last = await system.audit(kind="message", decision="allowed")
    assert last.details["encryption"]["keys"] == [new.info.key_id]


async def test_rotating_a_token_is_one_thing_by_two_names(system):
    """An agent without other keys gets a new token, as from `mas agent token rotate`."""
    folder = system.folder / "tokens"
    folder.mkdir(mode=0o700)
    target = system.system.target
    object.__setattr__(target, "tokens_dir", folder)

    made = await keys.rotate(system.system, "bob", grace=60)

    assert made.info.type == "token"
    assert made.path == folder / "bob.token"
    assert list(made.info.fingerprints) == ["sign", "decrypt", "seal"]
    assert [item.status for item in await keys.list_keys(system.system, ["bob"])] == ["active", "ending"]


async def test_revoking_everything_leaves_nothing(system, tmp_path):
    """Keys and tokens at once; a second time there is nothing left."""
    await keys.generate(system.system, "bob", out=tmp_path / "bob.pem")

    revoked = await keys.revoke(system.system, "bob")

    assert sorted(item.type for item in revoked) == ["token", "x25519"]
    assert {item.status for item in revoked} == {"revoked"}
    with pytest.raises(KeyNotFound):
        await keys.revoke(system.system, "bob")


async def test_s5_a_revoked_agent_is_refused_at_once(server_url):
    """The next call, and nothing of it is delivered; what is deregistered is not even answered."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob, alice = await system.run("bob"), await system.client("alice")
        await alice.send("bob", "x", {"n": 1})

        await agents.revoke_token(system.system, "alice")
        with pytest.raises(TokenRevoked):
            await alice.send("bob", "x", {"n": 2})
        await agents.deregister(system.system, "alice")
        with pytest.raises(GatewayDown):
            await alice.send("bob", "x", {"n": 3}, timeout=0.2)
        await until(lambda: bob.messages)

        assert bob.numbers == [1]
        assert await system.audit(kind="message", decision="unauthenticated", rule="token_revoked")
        assert await until(lambda: system.audit(kind="frame", decision="unauthenticated"))


async def test_s5_connections_of_a_revoked_agents_server_user_are_closed(server_url):
    """With its last token its user goes, and every connection of it."""
    async with live_system(server_url, agents=["alice"]) as system:
        call = system.store.connection.call
        user = system.store.keys.server_user("alice")
        await call("ACL", "SETUSER", user, "on", "nopass", "+ping", "+auth", "+hello")
        wire = await _connected_as(server_url, user)
        assert await wire(b"PING") == b"+PONG\r\n"

        await agents.revoke_token(system.system, "alice")

        assert await wire(b"PING") == b""
        assert await call("ACL", "GETUSER", user) is None


async def test_s5_other_tokens_keep_the_server_user(server_url):
    """While one token counts the user stays; its connections have to come anew."""
    async with live_system(server_url, agents=["alice"]) as system:
        call = system.store.connection.call
        user = system.store.keys.server_user("alice")
        await call("ACL", "SETUSER", user, "on", "nopass", "+ping", "+auth", "+hello")
        wire = await _connected_as(server_url, user)
        (old,) = (await system.system.registry.get("alice")).registration.keys
        await agents.rotate_token(system.system, "alice", show=True)

        await agents.revoke_token(system.system, "alice", old.key_id)

        assert await wire(b"PING") == b""
        assert await call("ACL", "GETUSER", user) is not None
        await call("ACL", "DELUSER", user)


async def _connected_as(url, user):
    path = url.removeprefix("unix://").partition("?")[0].rpartition("@")[2]
    reader, writer = await asyncio.open_unix_connection(path if path.startswith("/") else f"/{path}")

    async def ask(line):
        try:
            writer.write(line + b"\r\n")
            return await asyncio.wait_for(reader.readline(), 5)
        except ConnectionError:
            return b""

    assert await ask(f"AUTH {user} any".encode()) == b"+OK\r\n"
    return ask


async def test_s6_keys_rotate_under_load_without_a_loss(server_url):
    """Old and new sender and receiver: all arrives once within the overlap; after it the old is refused."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        old_bob, old_alice = await system.run("bob"), await system.client("alice")
        sending = asyncio.Event()

        async def send(client, start, count):
            for number in range(start, start + count):
                await client.send("bob", "x", {"n": number})
                sending.set()

        load = asyncio.create_task(send(old_alice, 0, 400))
        await sending.wait()
        issued = await agents.rotate_token(system.system, "alice", overlap=3600, show=True)
        system.tokens["alice"] = issued.token
        new_alice = await system.client("alice")
        more = asyncio.create_task(send(new_alice, 1000, 400))
        bobs = await agents.rotate_token(system.system, "bob", overlap=3600, show=True)
        new_bob = await system.run("bob", token=bobs.token)
        await asyncio.gather(load, more)
        await until(lambda: len(old_bob.messages) + len(new_bob.messages) == 800)

        assert sorted(old_bob.numbers + new_bob.numbers) == [*range(400), *range(1000, 1400)]
        records = await system.audit(kind="message", decision="allowed")
        key_ids = {record.key_id for record in records}
        assert len(key_ids) == 2
        assert issued.key_id in key_ids
        assert all(record.key_id for record in records)

        await agents.rotate_token(system.system, "alice", overlap=0, show=True)
        for client in (old_alice, new_alice):
            with pytest.raises(TokenExpired):
                await client.send("bob", "x", {"n": -1})
