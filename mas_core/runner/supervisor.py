"""The supervisor: runs the agents of a project, each instance in its own process, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from mas_core.errors import MasError
from mas_core.runner.class_loading import ClassLoader, class_problems
from mas_core.runner.launch import ConnectionFacts, Launch
from mas_core.runner.log_files import rotate_if_large
from mas_core.runner.supervised_instance import AgentEvent, InstanceInfo, SupervisedInstance
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.server_logins import agent_login_path, read_login, url_for
from mas_core.settings.tls_files import TlsFiles
from mas_core.settings.yaml_documents import error_of

DRAIN_SECONDS = 20.0
END_SECONDS = 3.0
"""What an instance gets on top, to say goodbye."""
LOG_CHECK_SECONDS = 10.0

_OWN_VARIABLES = ("MAS_", "GATEWAY_", "REDIS_")


class Supervisor:
    """Keeps the instances of all specs running.

    Args:
        project: Whose agents they are.
        specs: What to run.
        connection: How instances reach the system.
        on_event: Gets what happens; called in the event loop.
        class_prefixes: Packages outside of the project whose classes may run.
        agents_dir: Folder of the specs and of modules beside them; agents.d when left out.
        drain_s: How long an instance may finish what it has in hand.
        place: What tells these instances from others of the same agents: a new instance in the same place
            replaces the old one. The project on this machine when left out.
        tracing: Variables that tell instances where their spans go.
        served: For an agent that goes through a server of agents, its URL and the agent's certificate: then its
            processes learn nothing of the Redis server.
        withheld: Variables that the processes of an agent do not get, by its id and all specs.
    """

    def __init__(
        self,
        project: Project,
        specs: Sequence[AgentSpec],
        connection: ConnectionFacts,
        on_event: Callable[[AgentEvent], None] | None = None,
        *,
        class_prefixes: Sequence[str] = (),
        agents_dir: Path | None = None,
        drain_s: float = DRAIN_SECONDS,
        place: str = "",
        tracing: Mapping[str, str] | None = None,
        withheld: Callable[[str, Iterable[AgentSpec]], Collection[str]] = lambda _agent_id, _specs: (),
        served: Callable[[AgentSpec], tuple[str, TlsFiles] | None] = lambda _spec: None,
    ) -> None:
        self._project = project
        self._connection = connection
        self._on_event = on_event or (lambda _event: None)
        self._folders = [agents_dir or project.root / "agents.d", project.root]
        self._class_prefixes = list(class_prefixes)
        self._tracing = dict(tracing or {})
        self._withheld = withheld
        self._served = served
        self._drain_s = drain_s
        place = f"{socket.gethostname()}\0{project.root}\0{place}"
        self._place = hashlib.sha256(place.encode()).hexdigest()[:12]
        self._specs = {spec.agent_id: spec for spec in specs}
        self._instances: dict[str, list[SupervisedInstance]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._rotating: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Start every instance; `wait_ready` says when they run.

        Raises:
            SpecInvalid: A class path is not allowed; nothing was started.
        """
        self.check(self._specs.values())
        self._rotating = asyncio.create_task(self._rotate_logs())
        for spec in self._specs.values():
            self._start(spec)

    async def wait_ready(self, timeout: float) -> list[InstanceInfo]:
        """Wait at most `timeout` seconds until each is ready or given up; gives those that are not ready."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for instances in self._instances.values():
                    for one in instances:
                        await one.settled.wait()
        return [info for info in self.status() if info.state != "ready"]

    async def stop(self) -> bool:
        """Drain and end all instances at once; whether all of them ended in time."""
        if self._rotating:
            self._rotating.cancel()
            # unlike awaiting it, this lets a cancellation of our own through
            await asyncio.wait([self._rotating])
            self._rotating = None
        async with self._changing:
            drained = await self._stop(list(self._instances))
        if self._retiring:
            await asyncio.wait(self._retiring)
        return drained

    async def kill(self) -> None:
        """End all instances at once; what they have in hand goes to others or comes again."""
        for instances in self._instances.values():
            for one in instances:
                one.kill()
        await self.stop()

    def status(self) -> list[InstanceInfo]:
        """What is known of every instance."""
        return [one.info for name in sorted(self._instances) for one in self._instances[name]]

    def specs(self) -> list[AgentSpec]:
        """What runs now."""
        return list(self._specs.values())

    def working(self, agent_id: str) -> list[InstanceInfo]:
        """The instances of an agent that are not on their way out."""
        infos = (one.info for one in self._instances.get(agent_id, ()))
        return [info for info in infos if info.state != "draining"]

    async def scale(self, agent_id: str, count: int, reason: str) -> None:
        """Have `count` instances of an agent from now on; those that are too many finish what they have in hand."""
        async with self._changing:
            spec = self._specs.get(agent_id)
            working = [one for one in self._instances.get(agent_id, ()) if one.info.state != "draining"]
            if spec is None or len(working) == count or not spec.instances.min <= count <= spec.instances.max:
                return
            message = f"{_instances(count)} instead of {len(working)}: {reason}"
            self._on_event(AgentEvent("scaled", agent_id, message=message))
            for one in sorted(working, key=lambda one: one.number)[count:]:
                task = asyncio.create_task(self._retire(one))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
            for _ in range(count - len(working)):
                self._add(spec)

    async def _retire(self, instance: SupervisedInstance) -> None:
        await instance.retire()
        instances = self._instances.get(instance.agent_id, [])
        if instance in instances:
            instances.remove(instance)

    def check(self, specs: Iterable[AgentSpec]) -> None:
        """Refuse specs whose class may not run, before anything of them is imported.

        Raises:
            SpecInvalid: Names the spec and the fix.
        """
        if problems := class_problems(specs, ClassLoader(self._folders, self._class_prefixes)):
            raise error_of(problems)

    async def apply(self, specs: Sequence[AgentSpec], touched: frozenset[str] = frozenset()) -> list[str]:
        """Run these specs from now on: start the new, end the removed, restart the changed.

        Args:
            specs: What to run.
            touched: Files that changed; agents that have imported one of them are restarted.

        Returns:
            The ids of the agents that were started, ended or restarted.

        Raises:
            SpecInvalid: A class path is not allowed; everything runs on as before.
        """
        self.check(specs)
        async with self._changing:
            wanted = {spec.agent_id: spec for spec in specs}
            stale = [
                name
                for name, instances in self._instances.items()
                if wanted.get(name) != self._specs.get(name)
                or any(one.files & touched or one.info.state == "gave_up" for one in instances)
            ]
            await self._stop(stale)
            new = [spec for name, spec in wanted.items() if name in stale or name not in self._specs]
            self._specs = wanted
            for spec in new:
                self._start(spec)
        return sorted({*stale, *(spec.agent_id for spec in new)})

    async def reload_on_change(
        self,
        before: Callable[[list[AgentSpec]], Awaitable[None]] | None = None,
        read: Callable[[], list[AgentSpec]] | None = None,
    ) -> None:
        """Watch the project and apply what changes, until cancelled; mistakes are told and change nothing.

        Args:
            before: Awaited with the new specs before they run: registers agents, replaces rules.
            read: Gives what is to run, from the files; all agents of the project when left out.
        """
        async for touched in _changes(self._project.root.resolve()):
            try:
                specs = read() if read else load_config(self._project).specs()
                self.check(specs)
                if before:
                    await before(specs)
                changed = await self.apply(specs, touched)
            except MasError as error:
                self._on_event(AgentEvent("problem", message=error.message, hint=error.hint))
                continue
            if changed:
                self._on_event(AgentEvent("reloaded", message=", ".join(changed)))

    def _start(self, spec: AgentSpec) -> None:
        self._instances[spec.agent_id] = []
        for _ in range(spec.instances.min):
            self._add(spec)

    def _add(self, spec: AgentSpec) -> None:
        """Start one more instance, with the lowest number that is free."""
        instances = self._instances[spec.agent_id]
        taken = {one.number for one in instances}
        number = next(number for number in itertools.count(1) if number not in taken)
        instance = SupervisedInstance(
            lambda status_fd: self._launch(spec, number, status_fd),
            spec.agent_id,
            number,
            restart=spec.restart,
            log_path=self._project.logs_dir / f"{spec.agent_id}-{number}.log",
            environ=self._environ(spec),
            on_event=self._on_event,
        )
        instances.append(instance)
        instance.start()

    async def _stop(self, names: Sequence[str]) -> bool:
        instances = [one for name in names for one in self._instances.get(name, [])]
        drained = await asyncio.gather(*(one.stop(self._drain_s + END_SECONDS) for one in instances))
        for name in names:
            self._instances.pop(name, None)
        return all(drained)

    def _launch(self, spec: AgentSpec, number: int, status_fd: int) -> Launch:
        return Launch(
            spec=spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
            number=number,
            connection=self._connection_of(spec),
            folder=str(self._project.root),
            class_folders=[str(folder) for folder in self._folders],
            class_prefixes=self._class_prefixes,
            slot=f"{self._place}-{number}",
            drain_s=self._drain_s,
            status_fd=status_fd,
        )

    def _connection_of(self, spec: AgentSpec) -> ConnectionFacts:
        """How an agent reaches the system: through a server, or as its own user of the store where it has one."""
        served = self._served(spec)
        if served is not None:
            url, files = served
            certificate, key, authorities = map(str, files)
            return msgspec.structs.replace(self._connection, url=url, tls=(certificate, key, authorities))
        login = read_login(agent_login_path(Path(self._connection.tokens_dir), spec.agent_id))
        return msgspec.structs.replace(self._connection, url=url_for(self._connection.url, login))

    def _environ(self, spec: AgentSpec) -> Mapping[str, str]:
        """The environment of an instance: ours without our own settings, which may hold secrets."""
        withheld = self._withheld(spec.agent_id, self._specs.values())
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OWN_VARIABLES) and name not in withheld
        }
        return inherited | {
            "PYTHONUNBUFFERED": "1",
            "MAS_CONFIG_FILE": self._connection.config_path or str(self._project.config_path),
            "MAS_NAMESPACE": self._connection.namespace,
            "MAS_PARTITIONS": str(self._connection.partitions),
            **self._tracing,
            **spec.env,
        }

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for info in self.status():
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(rotate_if_large, Path(info.log))


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


async def _changes(root: Path) -> AsyncIterator[frozenset[str]]:
    """The files of the project that changed; virtual environments and hidden folders are not watched."""
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - only for --reload

    watched = PythonFilter(extra_extensions=(".yaml", ".yml"))
    found: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def watch(*folders: Path, recursive: bool) -> None:
        async for changes in awatch(
            *folders, watch_filter=watched, step=100, debounce=400, recursive=recursive
        ):
            found.put_nowait(frozenset(path for _, path in changes))

    tasks = [asyncio.create_task(watch(root, recursive=False))]
    if below := _watched_folders(root):
        tasks.append(asyncio.create_task(watch(*below, recursive=True)))
    try:
        while True:
            yield await found.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _watched_folders(root: Path) -> list[Path]:
    return [
        path
        for path in root.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name not in {"__pycache__", "node_modules"}
        and not (path / "pyvenv.cfg").exists()
    ]
