"""Four facts about here: which context, which server, which gateways, which agents. Nothing of it can fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from mas_cli.connection import target_of
from mas_cli.input.shared_flags import SharedFlags, typed_values
from mas_cli.output.safe_text import safe_text
from mas_core.errors import MasError, ProjectNotFound, StoreUnreachable
from mas_core.settings.target import Target

SECONDS = 1.0
"""How long a server may take to answer."""


def facts(words: Sequence[str]) -> str:
    """What bare `mas` says about where it is; `words` are the shared flags that were typed."""
    try:
        typed = typed_values(words)
        flags = SharedFlags(context=typed.get("context"), config=typed.get("config"), url=typed.get("url"))
        target = target_of(flags)
    except ProjectNotFound:
        found = {"context": "none; make a project with: mas init DIR"}
    except StoreUnreachable as error:
        found = {"context": "this project", "server": f"{error.message}; start it with: mas up"}
    except MasError as error:
        found = {"context": error.message}
    else:
        found = _facts(target)
    lines = [f"  {name:<8}  {safe_text(text, 200)}" for name, text in found.items()]
    return "\n".join(("Here:", *lines))


def _facts(target: Target) -> dict[str, str]:
    marks = [
        mark for mark, is_so in (("protected", target.protected), ("read-only", target.read_only)) if is_so
    ]
    found = {"context": ", ".join((f"{target.name} ({target.source})", *marks))}
    try:
        found |= asyncio.run(_asked(target))
    except TimeoutError:
        found["server"] = f"{target.shown_url} does not answer within {SECONDS:g} s; see: mas doctor"
    except MasError as error:
        found["server"] = f"{error.message}; see: mas doctor"
    return found


async def _asked(target: Target) -> dict[str, str]:
    from mas_core.ops import agents
    from mas_core.ops.system import System

    async with asyncio.timeout(SECONDS), System(target) as system:
        begun = time.perf_counter()
        await system.store.connection.time_ms()
        took = (time.perf_counter() - begun) * 1000
        is_own = target.project is not None and target.url.startswith("unix:")
        found = {"server": f"{'its own' if is_own else target.shown_url}, {took:.2f} ms"}
        gateways = await system.gateways()
        serving = sum(gateway.state == "serving" for gateway in gateways)
        found["gateways"] = f"{serving} of {len(gateways)} take messages" if gateways else "none: mas up"
        try:
            system.access.require("see", "to list agents")
            listed = await agents.list_agents(system)
        except MasError as error:
            found["agents"] = error.message
        else:
            running = sum(agent.status == "running" for agent in listed)
            found["agents"] = f"{len(listed)} registered, {running} running"
    return found
