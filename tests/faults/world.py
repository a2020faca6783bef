"""A whole system of real processes under load, for a row to hurt: server, gateways, agents, ledgers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from mas_core.base.ids import partition_of
from mas_core.errors import MasError
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.ops import agents
from mas_core.ops.system import System
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.policy_changes import add_rule
from mas_core.settings.project import project_at
from mas_core.settings.target import Target
from tests.faults.checker import Audited, Fault, Ledgers, check
from tests.faults.load import READY
from tests.faults.outcome import Options, Outcome
from tests.faults.power_cut import PowerCut
from tests.faults.server import Server
from tests.faults.zygote import GATEWAY, NOTARY, Process, Zygote

NO_LIMIT = RateLimit(per_minute=10**9, per_hour=10**9)
NO_PROGRESS_S = 75
"""More than it takes until an instance that said nothing counts as gone."""
QUICK_RETRIES = {"retry": {"base": 0.2}}
"""A run ends when the last message that fails on purpose has had its attempts."""
NUMBERS_OF_A_SENDER = 10**9
NUMBERS_OF_A_START = 10**6


@dataclass(frozen=True)
class Plan:
    """What runs: unless a row says else, 20 agents, 2 gateways, 500 messages a second of mixed sizes."""

    partitions: int = 2
    gateways: int = 2
    sender_processes: int = 2
    senders: int = 5
    """Sending agents of each process."""
    workers: int = 20
    """Messages that a sending agent has on their way at most."""
    receiver_processes: int = 2
    receivers: int = 5
    """Receiving agents of each process."""
    counters: int = 0
    """Agents that count messages in their state, a process each."""
    relays: bool = False
    """Whether counters pass some messages on to receivers."""
    rate: float = 500
    """Messages a second in all."""
    failing: float = 0.01
    """Share of messages whose handler fails at first, or always."""
    notary: bool = False
    """Whether a notary keeps evidence outside of the server, which is verified as well."""
    profile: str = "durable"
    gateway: Mapping[str, Any] = field(default_factory=dict)
    """Section `gateway` of mas.yaml."""
    server: Mapping[str, str] = field(default_factory=dict)
    """Options of the server."""
    server_environ: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables of all gateways and agents."""
    prefix: Sequence[str] = ()
    """Command before the parent of gateways and agents."""


@dataclass
class AgentGroup:
    """Agents that share a process, and what starts it again."""

    role: str
    arguments: dict[str, Any]
    ledger: Path
    process: Process | None = None


class World:
    """Everything that a row needs; use it as an async context manager.

    Args:
        options: How the row is run.
        plan: What runs.
    """

    def __init__(self, options: Options, plan: Plan | None = None) -> None:
        self.options = options
        self.plan = plan or Plan()
        self.folder = options.folder
        self.chance = random.Random(options.seed)
        self.server = Server(
            self.folder / "server",
            profile=self.plan.profile,
            environ=self.plan.server_environ,
            options=self.plan.server,
        )
        self.zygote = Zygote(self.plan.environ, self.plan.prefix)
        self.gateway_url = self.agent_url = ""
        """The server as gateways and agents see it; a row may put something between before it starts them."""
        self.gateways: list[Process] = []
        self.senders: list[AgentGroup] = []
        self.receivers: list[AgentGroup] = []
        self.counters: list[AgentGroup] = []
        self.killed_handlers: list[int] = []
        self.notary: Process | None = None
        self.spared: set[int] = set()
        """Gateways that no injection may end."""
        self.power: PowerCut | None = None
        """What cuts the power of the server, where the row has put it there."""
        self.faults: list[Fault] = []
        self.crashes: list[str] = []
        """Processes that ended although nobody had killed them."""
        self._stack = contextlib.AsyncExitStack()

    # Start

    async def __aenter__(self) -> Self:
        try:
            await self._prepare()
            await self.start_load()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _prepare(self) -> None:
        plan = self.plan
        self.began = time.monotonic()
        self.keys_dir = self.folder / ".mas" / "keys"
        GatewayKeys.load_or_create(self.keys_dir)
        config = {
            "partitions": plan.partitions,
            "profile": plan.profile,
            "gateway": {**QUICK_RETRIES, **plan.gateway},
        }
        (self.folder / "mas.yaml").write_text(json.dumps(config))
        await self.server.start()
        self._stack.push_async_callback(self.server.kill)
        await self.zygote.start()
        self._stack.push_async_callback(self.zygote.stop)
        self.gateway_url = self.gateway_url or self.server.url
        self.agent_url = self.agent_url or self.server.url
        target = Target(
            self.server.url,
            partitions=plan.partitions,
            profile=plan.profile,
            keys_dir=self.keys_dir,
            project=project_at(self.folder) if plan.notary else None,
        )
        self.system = await self._stack.enter_async_context(System(target))
        senders = [[f"s{group}-{at}" for at in range(plan.senders)] for group in range(plan.sender_processes)]
        receivers = [
            [f"r{group}-{at}" for at in range(plan.receivers)] for group in range(plan.receiver_processes)
        ]
        counters = [[f"c{at}"] for at in range(plan.counters)]
        tokens = {
            name: (await agents.register(self.system, name, show=True)).token
            for group in (*senders, *receivers, *counters)
            for name in group
        }
        await self.system.policy.change(_open_policy)
        targets = [name for group in (*receivers, *counters) for name in group]
        common = {"namespace": self.system.store.namespace, "partitions": plan.partitions}

        def grouped(role: str, name: str, names: Sequence[str], **more: object) -> AgentGroup:
            ledger = self.folder / f"ledger-{name}.log"
            arguments = {
                **common, **more, "agents": {item: tokens[item] for item in names}, "ledger": str(ledger),
            }  # fmt: skip
            return AgentGroup(role, arguments, ledger)

        self.receivers = [
            grouped("receive", f"receive-{at}", names, slots=True) for at, names in enumerate(receivers)
        ]
        self.counters = [
            grouped("count", f"count-{at}", names, slots=True) for at, names in enumerate(counters)
        ]
        self.senders = [
            grouped(
                "send", f"send-{at}", names, targets=targets, seed=self.options.seed * 1000 + at,
                first=(at + 1) * NUMBERS_OF_A_SENDER, workers=plan.workers, failing=plan.failing,
                rate=plan.rate / plan.sender_processes,
                counters=[name for group in counters for name in group],
                relays=[name for group in receivers for name in group] if plan.relays else [],
            )
            for at, names in enumerate(senders)
        ]  # fmt: skip

    async def start_load(self) -> None:
        """Start gateways and agents; returns when the first messages are acknowledged."""
        if self.plan.notary:
            await self.start_notary()
        for _ in range(self.plan.gateways):
            await self.start_gateway()
        groups = [*self.receivers, *self.counters]
        await asyncio.gather(*(self.start_agents(group) for group in groups))
        await self.until(lambda: all(self.is_ready(group) for group in groups), "the receivers to start")
        await asyncio.gather(*(self.start_agents(group) for group in self.senders))
        await self.until(lambda: all(b"\na " in _text(group) for group in self.senders), "the load to start")

    async def start_gateway(self, failpoint: str = "") -> Process:
        """Start one more gateway; it need not be ready when this returns."""
        environ = {"MAS_URL": self.gateway_url, "MAS_FAILPOINT": failpoint}
        process = await self.zygote.spawn(GATEWAY, self.folder, self.folder / "gateway.log", environ)
        self.gateways.append(process)
        return process

    async def start_notary(self) -> None:
        """Start the notary, or start it again."""
        environ = {"MAS_URL": self.gateway_url}
        self.notary = await self.zygote.spawn(NOTARY, self.folder, self.folder / "notary.log", environ)

    async def start_agents(self, group: AgentGroup, failpoint: str = "") -> Process:
        """Start the process of some agents, or start it again."""
        arguments = {**group.arguments, "url": self.agent_url}
        group.process = await self.zygote.spawn(
            f"tests.faults.load:{group.role}", self.folder, self.folder / f"{group.role}.log",
            {"MAS_FAILPOINT": failpoint}, **arguments,
        )  # fmt: skip
        return group.process

    def renumber(self, group: AgentGroup) -> None:
        """Let senders that are started again go on with numbers that were not used."""
        if "first" in group.arguments:
            group.arguments["first"] += NUMBERS_OF_A_START
            group.arguments["seed"] += 1_000_003

    def is_ready(self, group: AgentGroup) -> bool:
        """Whether the running process of these agents has started."""
        assert group.process is not None
        said = Path(f"{group.ledger}{READY}")
        return said.exists() and str(group.process.pid) in said.read_text().split()

    # While it runs

    @property
    def partitions(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(range(self.plan.partitions))

    async def until(self, condition: Any, what: str, seconds: float = 120) -> None:
        """Wait for a condition, a function or a coroutine function.

        Raises:
            TimeoutError: It did not come.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            met = condition()
            if asyncio.iscoroutine(met):
                met = await met
            if met:
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"waited {seconds:g} s for {what}; logs are in {self.folder}")

    async def owned(self, process: Process) -> tuple[int, ...]:
        """Partitions that a gateway process owns by the store."""
        records = self.system.store.records
        ids = set()
        for gateway_id, text in (await self.system.store.gateways.heartbeats()).items():
            if msgspec.json.decode(text, type=_Pid).pid == process.pid:
                ids.add(gateway_id.encode())
        metas = await records.metas()
        return tuple(number for number, meta in enumerate(metas) if meta.get("owner") in ids)

    def note_fault(self, partitions: Sequence[int]) -> None:
        """Remember that these partitions were hit now, for the recovery times."""
        self.faults.append(Fault(time.monotonic_ns(), tuple(partitions)))

    async def kill_gateway(self, process: Process) -> tuple[int, ...]:
        """End a gateway as by `kill -9`; the partitions that it owned."""
        hit = await self.owned(process)
        process.signal(signal.SIGKILL)
        self.note_fault(hit)
        self.gateways.remove(process)
        await process.ended.wait()
        return hit

    async def kill_agents(self, group: AgentGroup) -> None:
        """End the process of some agents as by `kill -9`; what it held may be handled again."""
        assert group.process is not None
        self.killed_handlers.append(group.process.pid)
        await group.process.kill()

    def acknowledged(self) -> int:
        """About how many bytes of acknowledgements there are: it grows while the system works."""
        return sum(group.ledger.stat().st_size for group in self.senders)

    def receipts(self) -> int:
        """How many messages were acknowledged."""
        return sum(_text(group).count(b"\na ") for group in self.senders)

    async def until_working(self, seconds: float = 120) -> None:
        """Wait until every partition has an owner and messages are acknowledged."""
        before = self.acknowledged()
        await self.until(lambda: self.acknowledged() > before, "messages to be acknowledged", seconds)

    def note_crashes(self) -> None:
        """Notice gateways that ended by themselves."""
        for process in [item for item in self.gateways if not item.is_alive]:
            self.gateways.remove(process)
            self.crashes.append(f"gateway {process.pid} ended with {process.code}")

    # The end

    async def end_load(self) -> None:
        """Let the senders end, and wait until everything that was accepted is handled or dead."""
        await asyncio.gather(*(group.process.end(180) for group in self.senders if group.process is not None))
        for group in self.senders:
            if group.process is not None and group.process.code:
                self.crashes.append(f"the senders of {group.ledger.name} ended with {group.process.code}")
        # What cannot be handled stays where it is, and is counted by the checker.
        left, changed = -1, time.monotonic()
        while left != 0 and time.monotonic() - changed < NO_PROGRESS_S:
            found = await self._left()
            if found is not None and found != left:
                left, changed = found, time.monotonic()
            await asyncio.sleep(0.1)

    async def _left(self) -> int | None:
        """How much is accepted and not handled; None when the server does not say."""
        store = self.system.store
        names = [name for group in (*self.receivers, *self.counters) for name in group.arguments["agents"]]
        try:
            found = sum(await store.records.backlogs(names)) + await store.records.waiting_frames()
            for partition in self.partitions:
                found += int(await store.connection.call("ZCARD", store.keys.later(partition)))
        except MasError:
            return None
        return found

    async def end_all(self) -> None:
        """End agents and gateways in order."""
        groups = [*self.receivers, *self.counters]
        await asyncio.gather(
            *(group.process.end(60) for group in groups if group.process and group.process.is_alive)
        )
        for group in groups:
            if (
                group.process is not None
                and group.process.code
                and group.process.pid not in self.killed_handlers
            ):
                self.crashes.append(f"the agents of {group.ledger.name} ended with {group.process.code}")
        self.note_crashes()
        await asyncio.gather(*(gateway.end(60) for gateway in self.gateways))
        if self.notary is not None:
            if not self.notary.is_alive:
                self.crashes.append(f"the notary ended with {self.notary.code}")
            # It signs what is there before it ends.
            await self.notary.end(60)

    def ledgers(self) -> Ledgers:
        """What was written down outside."""
        return Ledgers.read(sorted(self.folder.glob("ledger-*.log")))

    async def finish(self, outcome: Outcome, *, may_refuse: Collection[str] = ()) -> Audited:
        """End the load in order, and count.

        Args:
            outcome: Gets the counts.
            may_refuse: Codes of refusals that senders are meant to see.
        """
        await self.end_load()
        await self.end_all()
        outcome.broken += len(self.crashes)
        outcome.offending += self.crashes
        ledgers = self.ledgers()
        audited = await check(
            outcome, self.system, ledgers,
            killed=self.killed_handlers, faults=self.faults, may_refuse=may_refuse,
        )  # fmt: skip
        if self.counters:
            await self._check_counters(outcome, ledgers, audited)
        outcome.seconds = time.monotonic() - self.began
        return audited

    async def _check_counters(self, outcome: Outcome, ledgers: Ledgers, audited: Audited) -> None:
        """Every counter has counted exactly what was delivered to it and did not end as a dead letter."""
        from tests.faults.checker import dead_letters

        dead = await dead_letters(self.system)
        number_of = {item.message_id: item.number for item in (*ledgers.handled, *ledgers.done)}
        number_of |= {ack.message_id: ack.number for ack in ledgers.acks}
        target_of = await targets_of(self.system)
        for group in self.counters:
            for name in group.arguments["agents"]:
                mine = {
                    message_id
                    for message_id in audited.allowed
                    if target_of.get(message_id) == name and message_id not in dead
                }
                _, text = await self.system.store.agent(name).get_state()
                state = json.loads(text or b"{}")
                expected = {"count": len(mine), "sum": sum(number_of.get(item, 0) for item in mine)}
                found = {key: state.get(key, 0) for key in expected}
                outcome.figures["counted"] = outcome.figures.get("counted", 0) + found["count"]
                if found != expected:
                    outcome.broken += max(1, abs(found["count"] - expected["count"]))
                    outcome.offending.append(f"{name} counted {found}, and {expected} were delivered")


async def targets_of(system: System) -> dict[str, str]:
    """Message id -> whom it was delivered to."""
    decoder = msgspec.json.Decoder(_Delivered)
    found = {}
    for partition in range(system.store.partitions):
        async for block in system.store.records.audit_blocks(partition):
            for text in block.records():
                record = decoder.decode(text)
                if record.kind == "message" and record.message_id:
                    found[record.message_id] = record.target
    return found


def partition_names(names: Sequence[str], partitions: int) -> dict[int, list[str]]:
    """Partition -> the agents among these that live there."""
    found: dict[int, list[str]] = {}
    for name in names:
        found.setdefault(partition_of(name, partitions), []).append(name)
    return found


def _text(group: AgentGroup) -> bytes:
    return group.ledger.read_bytes() if group.ledger.exists() else b""


class _Pid(msgspec.Struct):
    pid: int = 0


class _Delivered(msgspec.Struct):
    kind: str = "message"
    message_id: str = ""
    target: str = ""


def _open_policy(document: PolicyDocument) -> PolicyDocument:
    return add_rule(msgspec.structs.replace(document, default_limit=NO_LIMIT), Rule("", "allow", "*", "*"))
