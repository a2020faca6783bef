"""The wires to a Cluster: each command goes to the node that has its slot, and follows it when the slot moves.

(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)
What the nodes refuse because a slot has moved, moves, or is served by nobody for the moment was not carried out, so
it is sent again, a few times. What was on its way when a connection ended is never sent again here: only the
caller knows whether that is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from mas_core.store.command_slots import slots_of, streams_apart, waits_ms
from mas_core.store.urls import Address
from mas_core.store.wire import Command, ConnectionLost, Failure, NotSent, ServerError, Wires

SLOTS: Final = 16384
PAUSES_S: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Before each further try of what was not carried out."""
CONNECT_S: Final = 2.0
ASK_S: Final = 1.0
"""How long one node may take to tell the slots."""
STALLED_S: Final = 1.5
"""When an answer is due for so long, the other nodes are asked whether that one still counts."""
POLL_S: Final = 0.1
"""How often streams of several nodes are looked at, at least."""

_EVERYWHERE: Final = frozenset({"SCRIPT", "ACL", "CLIENT"})
"""Commands that every node has to carry out."""
_AGAIN: Final = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN")
"""Refusals that pass."""

Send = Callable[[Wires, Sequence[Command]], Awaitable[list[Any]]]


class ClusterWires:
    """The connections to a Cluster; used as `Wires` are.

    Args:
        options: User, password and TLS, for every node.
        seeds: Nodes to ask first.
        timeout: Seconds to wait for an answer beyond what a command may block.
    """

    def __init__(self, options: Mapping[str, Any], seeds: Sequence[Address], timeout: float) -> None:
        self._options = options
        self._seeds = tuple(seeds)
        self._timeout = timeout
        self._nodes: dict[Address, Wires] = {}
        self._slots: list[Address | None] = []
        """Slot -> the node that has it."""
        self._replicas: tuple[Address, ...] = ()
        self._version = 0
        """How often the slots were read."""
        self._reading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, those of each node in one go; the replies in order.

        Where a connection ended, ConnectionLost stands in place of each reply that it was to bring.
        """
        if commands and commands[0][0] in _EVERYWHERE:
            return _joined(list((await self.execute_everywhere(commands)).values()))
        return await self._spread(commands, _execute)

    async def execute_blocking(self, command: Command) -> Any:
        """Send one command that may wait in the server, or in several for the streams of each."""
        if apart := streams_apart(command):
            return await self._poll(apart, waits_ms(command) / 1000)
        return (await self._spread([command], _execute_apart))[0]

    async def execute_apart(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that may wait, on connections that nothing else uses meanwhile; replies as of `execute`."""
        return await self._spread(commands, _execute_apart)

    async def execute_covered(
        self, commands: Sequence[Command], replicas: int, timeout_ms: int
    ) -> tuple[list[Any], int]:
        """Send commands, and wait on every node until so many replicas have what they wrote.

        Returns:
            The replies, as of `execute`, and how many replicas have it at least.
        """
        reached: list[int] = []

        async def send(node: Wires, part: Sequence[Command]) -> list[Any]:
            replies, count = await node.execute_covered(part, replicas, timeout_ms)
            reached.append(count)
            return replies

        replies = await self._spread(commands, send)
        return replies, min(reached, default=0)

    async def execute_everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """Send the same commands to every master; replies by host:port.

        Raises:
            ConnectionLost: One cannot be reached.
        """
        if not self._slots:
            await self._read_slots(self._version)
        masters = sorted(self._masters())
        replies = await asyncio.gather(*(self._node(address).execute(commands) for address in masters))
        return {f"{host}:{port}": found for (host, port), found in zip(masters, replies, strict=True)}

    async def execute_at(self, place: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands to one of the masters that `execute_everywhere` told.

        Raises:
            ConnectionLost: It cannot be reached, or is none any more.
        """
        for host, port in self._masters():
            if f"{host}:{port}" == place:
                return await self._node((host, port)).execute(commands)
        raise NotSent(f"{place} is no master of the cluster any more")

    @property
    def stalled_s(self) -> float:
        """For how long an answer is due, in seconds."""
        return max((node.stalled_s for node in self._nodes.values()), default=0.0)

    def drop(self) -> None:
        """End all connections; what is called next makes new ones and asks where the slots are."""
        for node in self._nodes.values():
            node.drop()
        self._slots = []

    async def close(self) -> None:
        """Close all connections, for good."""
        self._is_closed = True
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        nodes, self._nodes, self._slots = list(self._nodes.values()), {}, []
        for node in nodes:
            await node.close()

    async def _spread(self, commands: Sequence[Command], send: Send) -> list[Any]:
        """Send each command to the node of its slot, and once more what was refused because it was another's."""
        slots = slots_of(commands)
        replies: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        asked: dict[int, Address] = {}
        for pause in (*PAUSES_S, None):
            seen = self._version
            if not self._slots:
                await self._read_slots(seen)
            parts = self._parts(left, slots, asked)
            sending = [self._send(part, commands, asked, send) for part in parts.items()]
            # Most pipelines have one part, which needs no tasks.
            found = [await sending[0]] if len(sending) == 1 else await asyncio.gather(*sending)
            for places, answers in zip(parts.values(), found, strict=True):
                for place, answer in zip(places, answers, strict=True):
                    replies[place] = answer
            left = [place for place in left if _is_passing(replies[place])]
            if not left or pause is None:
                break
            asked = {place: to for place in left if (to := _asked(replies[place])) is not None}
            if len(asked) < len(left):
                moved = next((to for place in left if (to := _moved(replies[place])) is not None), None)
                if moved is None:
                    await asyncio.sleep(pause or PAUSES_S[1])
                with contextlib.suppress(NotSent):
                    await self._read_slots(seen, moved)
        failures = [reply for reply in replies if isinstance(reply, ConnectionLost)]
        if failures and len(failures) == len(replies):
            raise failures[0]
        return replies

    def _parts(
        self, places: Iterable[int], slots: Sequence[int], asked: Mapping[int, Address]
    ) -> dict[Address | None, list[int]]:
        """Node -> the places of the commands that it gets; None for slots that nobody has."""
        parts: dict[Address | None, list[int]] = {}
        for place in places:
            address = asked.get(place) or self._slots[slots[place]]
            parts.setdefault(address, []).append(place)
        return parts

    async def _send(
        self,
        part: tuple[Address | None, list[int]],
        commands: Sequence[Command],
        asked: Mapping[int, Address],
        send: Send,
    ) -> list[Any]:
        address, places = part
        if address is None:
            return [ServerError("CLUSTERDOWN no node has the slot")] * len(places)
        wanted = [commands[place] for place in places]
        try:
            if not asked:
                return await send(self._node(address), wanted)
            # A node that does not have the slot yet takes a command for it only right behind this word.
            sent: list[Command] = []
            for place, command in zip(places, wanted, strict=True):
                sent += [("ASKING",), command] if place in asked else [command]
            answers = iter(await send(self._node(address), sent))
            return [
                next(answers) if place not in asked else (next(answers), next(answers))[1] for place in places
            ]
        except ConnectionLost as error:
            return [error] * len(places)

    async def _poll(self, apart: Sequence[Command], seconds: float) -> list[Any] | None:
        """Read several streams until there is something in one of them."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        pause = 0.01
        while True:
            replies = await self.execute(apart)
            found = [stream for reply in replies if not isinstance(reply, Failure) for stream in reply or ()]
            if found:
                return found
            for reply in replies:
                if isinstance(reply, Failure):
                    raise reply
            left = deadline - loop.time()
            if left <= 0:
                return None
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, POLL_S)

    def _masters(self) -> set[Address]:
        return {address for address in self._slots if address is not None}

    def _node(self, address: Address) -> Wires:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = self._nodes[address] = Wires(
                {**self._options, "host": host, "port": port},
                self._timeout,
                connect_timeout=min(CONNECT_S, self._timeout),
            )
        return node

    async def _read_slots(self, seen: int, first: Address | None = None) -> None:
        """Ask the nodes who has which slot, unless somebody did since `seen`.

        Raises:
            NotSent: No node answers.
            ServerError: One refuses to tell.
        """
        async with self._reading:
            if self._is_closed:
                raise NotSent("the connection is closed")
            if self._version != seen and self._slots:
                return
            known = list({*self._masters(), *self._replicas})
            # Not always the same one: what it sees may be out of date.
            random.shuffle(known)
            for address in dict.fromkeys([*([first] if first else []), *known, *self._seeds]):
                try:
                    async with asyncio.timeout(ASK_S):
                        (reply,) = await self._node(address).execute([("CLUSTER", "SLOTS")])
                except (ConnectionLost, TimeoutError):
                    continue
                if isinstance(reply, ServerError):
                    raise reply
                if self._take(reply, address):
                    break
            else:
                raise NotSent("no node of the cluster answers")
            masters = self._masters()
            for address in [address for address in self._nodes if address not in masters]:
                await self._nodes.pop(address).close()
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch())

    def _take(self, reply: Any, asked: Address) -> bool:
        """Keep what a node says; whether it knows any slots."""
        slots: list[Address | None] = [None] * SLOTS
        replicas: list[Address] = []
        for first, last, *nodes in reply:
            master, *others = (_place(node, asked) for node in nodes)
            slots[int(first) : int(last) + 1] = [master] * (int(last) - int(first) + 1)
            replicas += others
        if not any(slots):
            return False
        self._slots, self._replicas = slots, tuple(replicas)
        self._version += 1
        return True

    async def _watch(self) -> None:
        """When a node owes answers, look whether it still counts: its connections end when it does not."""
        while True:
            await asyncio.sleep(1)
            if self._slots and self.stalled_s > STALLED_S:
                with contextlib.suppress(Failure):
                    await self._read_slots(self._version)


async def _execute(node: Wires, commands: Sequence[Command]) -> list[Any]:
    return await node.execute(commands)


async def _execute_apart(node: Wires, commands: Sequence[Command]) -> list[Any]:
    return await node.execute_apart(commands)


def _joined(of_nodes: Sequence[Sequence[Any]]) -> list[Any]:
    """One reply for each command that every node carried out: counts are added up, errors win."""
    joined: list[Any] = []
    for replies in zip(*of_nodes, strict=True):
        errors = [reply for reply in replies if isinstance(reply, ServerError)]
        if errors:
            joined.append(errors[0])
        elif all(isinstance(reply, int) for reply in replies):
            joined.append(sum(replies))
        else:
            joined.append(next((reply for reply in replies if reply is not None), None))
    return joined


def _is_passing(reply: object) -> bool:
    """Whether a command was not carried out and can be sent again."""
    return isinstance(reply, NotSent) or (isinstance(reply, ServerError) and str(reply).startswith(_AGAIN))


def _moved(reply: object) -> Address | None:
    return _named(reply, "MOVED ")


def _asked(reply: object) -> Address | None:
    return _named(reply, "ASK ")


def _named(reply: object, word: str) -> Address | None:
    """The node that a refusal names: `MOVED 3999 127.0.0.1:6381`."""
    text = str(reply)
    if not isinstance(reply, ServerError) or not text.startswith(word):
        return None
    host, _, port = text.rsplit(maxsplit=1)[-1].rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


def _place(node: Sequence[Any], asked: Address) -> Address:
    """Where a node is; one that does not know its own host is at that of the node which was asked."""
    host = node[0].decode(errors="replace") if node[0] else ""
    return (asked[0] if host in ("", "?") else host, int(node[1]))
