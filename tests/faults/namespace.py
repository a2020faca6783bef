"""A network namespace with one link to this machine, which can be taken down and up; needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self

NUMBER = os.getpid() % 250 + 1


def why_not() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the program ip is not installed (apt-get install iproute2)"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "network namespaces are not permitted here"


class Namespace:
    """Use it as a context manager; what is in it is `prefix`ed to a command."""

    def __init__(self) -> None:
        self.name = f"mas-{os.getpid()}"
        self._near, self._far = f"masn{NUMBER}", f"masf{NUMBER}"
        self.host = f"10.213.{NUMBER}.1"
        """This machine, as those inside reach it."""
        self.prefix = ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
            _ip("addr", "add", f"{self.host}/30", "dev", self._near)
            _ip("link", "set", self._near, "up")
            _ip("-n", self.name, "addr", "add", f"10.213.{NUMBER}.2/30", "dev", self._far)
            _ip("-n", self.name, "link", "set", self._far, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "del", self._near], capture_output=True, check=False)
        _ip("netns", "del", self.name)

    def down(self) -> None:
        """Take the link down: what is sent is lost, and nobody is told."""
        _ip("link", "set", self._near, "down")

    def up(self) -> None:
        """Bring it up again."""
        _ip("link", "set", self._near, "up")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
