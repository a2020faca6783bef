"""Which slot of a Cluster a command belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from redis.crc import key_slot

from mas_core.store.wire import Argument, Command

KEYLESS: Final = -1
_KEYLESS: Final = frozenset({
    "ACL", "CLIENT", "CLUSTER", "CONFIG", "ECHO", "INFO", "PING", "ROLE", "SCRIPT", "TIME", "WAIT",
})  # fmt: skip
_SECOND: Final = frozenset({"XGROUP", "XINFO", "MEMORY", "OBJECT"})
"""Their first argument is a subcommand."""


@lru_cache(maxsize=65536)
def slot_of_key(key: str) -> int:
    """The slot of a key: of its hash tag, where it has one."""
    return key_slot(key.encode())


def slot_of(command: Command) -> int:
    """The slot of a command's first key; KEYLESS when it has none. Its other keys have to share the slot."""
    name = str(command[0])
    if name in _KEYLESS:
        return KEYLESS
    if name in ("EVALSHA", "EVAL"):
        place = 3 if int(command[2]) else 0
    elif name in ("XREAD", "XREADGROUP"):
        place = command.index("STREAMS") + 1
    else:
        place = 2 if name in _SECOND else 1
    if not 0 < place < len(command):
        return KEYLESS
    return slot_of_key(_text(command[place]))


def slots_of(commands: Sequence[Command]) -> list[int]:
    """The slot of each command of a pipeline; one without a key goes where its neighbours go.

    So the time that is asked along with a partition's keys is that of the server which has them.
    """
    slots = [slot_of(command) for command in commands]
    if KEYLESS in slots:
        usual = next((slot for slot in slots if slot != KEYLESS), 0)
        slots = [usual if slot == KEYLESS else slot for slot in slots]
    return slots


def streams_apart(command: Command) -> list[Command]:
    """A reading of several streams as one reading for each, without waiting; empty when one server has them all."""
    if command[0] != "XREAD":
        return []
    place = command.index("STREAMS") + 1
    count = (len(command) - place) // 2
    keys, entries = command[place : place + count], command[place + count :]
    if len({slot_of_key(_text(key)) for key in keys}) < 2:
        return []
    options = list(command[1 : place - 1])
    if "BLOCK" in options:
        block = options.index("BLOCK")
        del options[block : block + 2]
    return [("XREAD", *options, "STREAMS", key, entry) for key, entry in zip(keys, entries, strict=True)]


def waits_ms(command: Command) -> int:
    """How long a command may wait in the server."""
    return int(command[command.index("BLOCK") + 1]) if "BLOCK" in command else 0


def _text(argument: Argument) -> str:
    return argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)
