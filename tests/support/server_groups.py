"""Groups of real servers on loopback: a Cluster of three masters and three replicas, and a Sentinel group.

They use the server program of the embedded server, answer within a few seconds, and lose single members when a
test says so. What they hold goes with them. Everything here waits without an event loop: where one runs, call it
by `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from mas_core.store.server_program import find_server_program

PASSWORD = "of-the-group"
SERVICE = "main"
NODE_TIMEOUT_MS = 1000
"""Without a sign of life for so long, a member of a group counts as gone."""
WAIT_S = 30.0
SLOTS = 16384


def free_port() -> int:
    """A port of loopback that nothing listens on, outside of those that outgoing connections get."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(
    condition: Callable[[], object],
    what: str,
    seconds: float = WAIT_S,
    describe: Callable[[], str] = lambda: "",
) -> None:
    """Wait until the condition holds; servers that do not answer yet count as no."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:g} s\n{describe()}")
        time.sleep(0.02)


_launcher = ThreadPoolExecutor(1)
"""Starts every server, as one ends with the thread that started it, and this one lasts."""


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@dataclass
class Member:
    """One server process of a group; it keeps port and data when it is killed and started again."""

    program: Path
    folder: Path
    port: int
    settings: dict[str, str]
    is_sentinel: bool = False
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.conf"
        # A sentinel keeps what it knows in its configuration.
        if not (self.is_sentinel and path.exists()):
            lines = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), **self.settings}
            path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        with (self.folder / "server.log").open("ab") as log:
            self.process = _launcher.submit(
                subprocess.Popen,
                [str(self.program), str(path), *(["--sentinel"] if self.is_sentinel else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            ).result()
        wait_for(self._answers, f"an answer of the server at port {self.port}")

    def _answers(self) -> bool:
        if not self.is_running:
            last = (self.folder / "server.log").read_text().splitlines()[-1:]
            raise AssertionError(f"the server at port {self.port} has ended: {last}")
        return bool(self.call("PING"))

    def call(self, *command: str | int) -> Any:
        """Run one command on this member."""
        with redis.Redis(
            port=self.port,
            password=None if self.is_sentinel else PASSWORD,
            decode_responses=True,
            socket_timeout=5,
        ) as client:
            return client.execute_command(*map(str, command))

    def cluster_state(self) -> str:
        """Whether the cluster serves its slots, as this member sees it: ok or fail."""
        facts = dict(line.split(":", 1) for line in self.call("CLUSTER", "INFO").splitlines())
        return facts["cluster_state"]

    def nodes(self) -> list[list[str]]:
        """The members of the cluster as this one sees them: the fields of CLUSTER NODES."""
        return [line.split() for line in self.call("CLUSTER", "NODES").splitlines()]

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash of the machine would, and wait until it is gone."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                # One that is stopped dies of this too.
                self.process.kill()
            self.process.wait()


@dataclass
class Group:
    """What both kinds of groups have in common."""

    folder: Path
    url: str = ""
    members: list[Member] = field(default_factory=list)

    def configure(self, **settings: object) -> None:
        """Set configuration on every server that runs; names with `_` for `-`."""
        for member in self.members:
            if member.is_running and not member.is_sentinel:
                for name, value in settings.items():
                    member.call("CONFIG", "SET", name.replace("_", "-"), str(value))

    def masters(self) -> list[Member]:
        """The servers that run and take writes."""
        found = []
        for member in self.members:
            if member.is_running and not member.is_sentinel:
                with contextlib.suppress(redis.RedisError):
                    if member.call("ROLE")[0] == "master":
                        found.append(member)
        return found

    def restart(self, *, seconds: float = WAIT_S) -> None:
        """Start every member that was killed, and wait until the group is whole."""
        for member in self.members:
            if not member.is_running:
                member.start()
        self.wait_until_whole(seconds)

    def wait_until_whole(self, seconds: float = WAIT_S) -> None:
        """Wait until every member takes part."""
        raise NotImplementedError

    def describe(self) -> str:
        """What every member says of itself, one a line."""
        lines = []
        for member in self.members:
            try:
                told = str(
                    member.call(*(("SENTINEL", "MASTER", SERVICE) if member.is_sentinel else ("ROLE",)))
                )
            except redis.RedisError as error:
                told = str(error)
            lines.append(f"{member.port} {told}")
        return "\n".join(lines)

    def stop(self) -> None:
        """End every member."""
        for member in self.members:
            member.kill()


@dataclass
class ClusterGroup(Group):
    """Three masters that share the slots, with a replica each (or more)."""

    def master_of(self, key: str) -> Member:
        """The server that takes writes of a key."""
        slot = int(self._any().call("CLUSTER", "KEYSLOT", key))
        for member in self.masters():
            own = next(node for node in member.nodes() if "myself" in node[2])
            if _has_slot(own[8:], slot):
                return member
        raise AssertionError(f"no master has the slot of {key}")

    def replicas_of(self, master: Member) -> list[Member]:
        """The servers that copy a master."""
        found = []
        for member in self.members:
            if member.is_running and member is not master:
                role = member.call("ROLE")
                if role[0] == "slave" and int(role[2]) == master.port:
                    found.append(member)
        return found

    def wait_until_whole(self, seconds: float = WAIT_S) -> None:
        """Wait until every slot is served and every replica has a link to its master."""
        wait_for(self._is_whole, "a whole cluster", seconds, self.describe)

    def wait_for_promotion(self, gone: Member, seconds: float = WAIT_S) -> None:
        """Wait until the slots of a member that was killed are served by another."""

        def is_promoted() -> bool:
            others = [member for member in self.members if member.is_running and member is not gone]
            return all(member.cluster_state() == "ok" for member in others)

        wait_for(lambda: len(self.masters()) >= 3 and is_promoted(), "a promotion", seconds)

    def migrate_slot(self, key: str) -> _Migration:
        """Begin to move the slot of a key to another master."""
        source = self.master_of(key)
        target = next(member for member in self.masters() if member is not source)
        return _Migration(self, source, target, int(source.call("CLUSTER", "KEYSLOT", key)))

    def _any(self) -> Member:
        return next(member for member in self.members if member.is_running)

    def _is_whole(self) -> bool:
        for member in self.members:
            if member.cluster_state() != "ok":
                return False
            role = member.call("ROLE")
            if role[0] == "slave" and role[3] != "connected":
                return False
            if role[0] == "master" and not role[2]:
                return False
        return len(self.masters()) == 3


@dataclass
class _Migration:
    """A slot on its way from one master to another."""

    group: ClusterGroup
    source: Member
    target: Member
    slot: int

    def begin(self) -> None:
        """From here on missing keys are asked for at the target."""
        self.target.call("CLUSTER", "SETSLOT", self.slot, "IMPORTING", _id(self.source))
        self.source.call("CLUSTER", "SETSLOT", self.slot, "MIGRATING", _id(self.target))

    def move_keys(self) -> None:
        """Move what there is."""
        while keys := self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            self.source.call(
                "MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys
            )

    def move_back(self) -> None:
        """Undo it, for others that share the Cluster."""
        back = _Migration(self.group, self.target, self.source, self.slot)
        back.begin()
        back.move_keys()
        back.finish()

    def finish(self) -> None:
        """The slot belongs to the target."""
        for member in (self.target, self.source, *self.group.masters()):
            member.call("CLUSTER", "SETSLOT", self.slot, "NODE", _id(self.target))


@dataclass
class SentinelGroup(Group):
    """A primary, a replica or more, and three sentinels that watch over them."""

    @property
    def primary(self) -> Member:
        """The server that the sentinels name."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                _, port = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(member for member in self.members if member.port == int(port))
        raise AssertionError("no sentinel answers")

    @property
    def sentinels(self) -> list[Member]:
        """The sentinels."""
        return [member for member in self.members if member.is_sentinel]

    def wait_until_whole(self, seconds: float = WAIT_S) -> None:
        """Wait until the replicas copy the primary and every sentinel knows all."""
        wait_for(self._is_whole, "a whole group", seconds, self.describe)

    def restart(self, *, seconds: float = WAIT_S) -> None:
        """Start every member that was killed, servers as replicas of the primary that there is now.

        One that is started by itself (`Member.start`) takes itself for what it was, until a sentinel sees it.
        """
        primary = self.primary
        for member in self.members:
            if not (member.is_running or member.is_sentinel or member is primary):
                member.settings["replicaof"] = f"127.0.0.1 {primary.port}"
        super().restart(seconds=seconds)

    def wait_for_promotion(self, gone: Member, seconds: float = WAIT_S) -> None:
        """Wait until another server than `gone` is the primary."""
        wait_for(
            lambda: self.primary is not gone and self.primary.call("ROLE")[0] == "master",
            "a promotion",
            seconds,
        )

    def _is_whole(self) -> bool:
        primary = self.primary
        servers = [member for member in self.members if not member.is_sentinel]
        replicas = [member for member in servers if member is not primary]
        copies = all(
            (role := member.call("ROLE"))[0] == "slave"
            and int(role[2]) == primary.port
            and role[3] == "connected"
            for member in replicas
        )
        if primary.call("ROLE")[0] != "master" or not copies:
            return False
        for sentinel in self.sentinels:
            state = sentinel.call("SENTINEL", "MASTER", SERVICE)
            knows_all = (
                int(state["num-slaves"]) >= len(replicas)
                and int(state["num-other-sentinels"]) == len(self.sentinels) - 1
                and state["flags"] == "master"
                and int(state["port"]) == primary.port
            )
            if not knows_all:
                return False
        return True


def _program() -> Path:
    with ThreadPoolExecutor(1) as thread:
        # A loop may run here already.
        return thread.submit(asyncio.run, find_server_program()).result()


def _id(member: Member) -> str:
    return str(member.call("CLUSTER", "MYID"))


def _has_slot(ranges: list[str], slot: int) -> bool:
    # What is in brackets is on its way.
    served = [item.split("-") for item in ranges if not item.startswith("[")]
    return any(int(item[0]) <= slot <= int(item[-1]) for item in served)


def _data_settings(fsync: str) -> dict[str, str]:
    return {
        "requirepass": PASSWORD,
        "masterauth": PASSWORD,
        "save": '""',
        "appendonly": "yes",
        "appendfsync": fsync,
        "maxmemory-policy": "noeviction",
        "repl-diskless-sync-delay": "0",
        "repl-ping-replica-period": "1",
        "proto-max-bulk-len": "2mb",
    }


@contextmanager
def cluster_group(*, replicas: int = 1, fsync: str = "everysec") -> Iterator[ClusterGroup]:
    """A Cluster of three masters with so many replicas each, ready to use.

    Args:
        replicas: Of each master.
        fsync: `always` for what the profiles durable and ha ask for.
    """
    program = _program()
    root = Path(tempfile.mkdtemp(prefix="mas-cluster-"))
    group = ClusterGroup(root)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        stack.callback(group.stop)
        for number in range(3 * (1 + replicas)):
            settings = _data_settings(fsync) | {
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                "cluster-replica-validity-factor": "0",
                "cluster-allow-replica-migration": "no",
            }
            group.members.append(Member(program, root / str(number), free_port(), settings))
        for member in group.members:
            member.start()
        _join(group)
        group.url = "redis+cluster://:{}@{}".format(
            PASSWORD, ",".join(f"127.0.0.1:{member.port}" for member in group.members[:3])
        )
        yield group


def _join(group: ClusterGroup) -> None:
    members, first = group.members, group.members[0]
    for number, master in enumerate(members[:3]):
        low, high = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
        master.call("CLUSTER", "ADDSLOTSRANGE", low, high)
    for number, member in enumerate(members, start=1):
        member.call("CLUSTER", "SET-CONFIG-EPOCH", number)
        if member is not first:
            bus = member.settings["cluster-port"]
            first.call("CLUSTER", "MEET", "127.0.0.1", member.port, bus)
    wait_for(lambda: all(_knows(member, len(members)) for member in members), "a cluster where all know all")
    for number, replica in enumerate(members[3:]):
        replica.call("CLUSTER", "REPLICATE", _id(members[number % 3]))
    group.wait_until_whole()


def _knows(member: Member, count: int) -> bool:
    nodes = member.nodes()
    return len(nodes) == count and not any("handshake" in node[2] for node in nodes)


@contextmanager
def sentinel_group(*, replicas: int = 1, fsync: str = "everysec") -> Iterator[SentinelGroup]:
    """A primary with so many replicas and three sentinels, ready to use; arguments as for `cluster_group`."""
    program = _program()
    root = Path(tempfile.mkdtemp(prefix="mas-sentinel-"))
    group = SentinelGroup(root)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        stack.callback(group.stop)
        primary = Member(program, root / "0", free_port(), _data_settings(fsync))
        group.members.append(primary)
        for number in range(1, replicas + 1):
            settings = _data_settings(fsync) | {"replicaof": f"127.0.0.1 {primary.port}"}
            group.members.append(Member(program, root / str(number), free_port(), settings))
        for member in group.members:
            member.start()
        for number in range(3):
            sentinel = Member(program, root / f"sentinel{number}", free_port(), {}, is_sentinel=True)
            sentinel.settings["sentinel"] = f"monitor {SERVICE} 127.0.0.1 {primary.port} 2"
            group.members.append(sentinel)
            sentinel.start()
            for name, value in {
                "auth-pass": PASSWORD,
                "down-after-milliseconds": NODE_TIMEOUT_MS,
                "failover-timeout": 3000,
                "parallel-syncs": 1,
            }.items():
                sentinel.call("SENTINEL", "SET", SERVICE, name, value)
        ports = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in group.sentinels)
        group.url = f"redis+sentinel://:{PASSWORD}@{ports}/{SERVICE}"
        group.wait_until_whole()
        yield group


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ClusterGroup]:
    """The Cluster of the whole run."""
    with cluster_group(fsync="always") as group:
        yield group


@pytest.fixture(scope="session")
def shared_sentinels() -> Iterator[SentinelGroup]:
    """The Sentinel group of the whole run."""
    with sentinel_group(fsync="always") as group:
        yield group


@pytest.fixture
def cluster(shared_cluster: ClusterGroup) -> Iterator[ClusterGroup]:
    """A Cluster that tests share; what one kills is there again for the next."""
    yield shared_cluster
    _mend(shared_cluster)


@pytest.fixture
def sentinels(shared_sentinels: SentinelGroup) -> Iterator[SentinelGroup]:
    """A Sentinel group that tests share; what one kills is there again for the next."""
    yield shared_sentinels
    _mend(shared_sentinels)


def _mend(group: Group) -> None:
    if not all(member.is_running for member in group.members):
        group.restart(seconds=2 * WAIT_S)
