"""A power cut without a plug: the server is killed, and what it had not flushed to disk is taken away.

`kill -9` alone loses nothing, since the kernel still has what was written. A small library, loaded into the server,
notes how much of each file was flushed; the cut takes away the rest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "power_cut.c"
NO_COMPILER = "no C compiler (apt-get install gcc libc6-dev)"


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


class PowerCut:
    """Cuts the power of one server.

    Args:
        folder: Where the library is built and what was flushed is noted.
        data: The server's folder; everything in it that was not flushed goes.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._log = folder / "flushed.log"
        self._library = folder / "power_cut.so"
        command = compiler()
        if command is None:
            raise RuntimeError(NO_COMPILER)
        subprocess.run(
            [command, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE), "-ldl"], check=True
        )

    @property
    def environ(self) -> dict[str, str]:
        """Variables for the server."""
        return {"LD_PRELOAD": str(self._library), "MAS_POWER_CUT_LOG": str(self._log)}

    def cut(self) -> int:
        """Take away what the killed server had not flushed; how many bytes that were."""
        flushed, renames = self._read()
        for number, old, new in reversed(renames):
            # The folder was not flushed after this one, so the old name and what had the new one may come back.
            kept = Path(f"{self._log}.{number}")
            if Path(new).exists():
                Path(new).replace(old)
                flushed[old] = flushed.get(new, 0)
            if kept.exists():
                shutil.copy2(kept, new)
                flushed[new] = kept.stat().st_size
        gone = 0
        for path in (item for item in self._data.rglob("*") if item.is_file()):
            size, safe = path.stat().st_size, flushed.get(str(path), 0)
            if path.name != "lock" and size > safe:
                gone += size - safe
                os.truncate(path, safe)
        # What is left is on disk; the next server begins with it.
        self._log.write_text(
            "".join(f"S {path.stat().st_size} {path}\n" for path in self._data.rglob("*") if path.is_file())
        )
        return gone

    def _read(self) -> tuple[dict[str, int], list[tuple[int, str, str]]]:
        """Path -> flushed size, and the renames whose folder was not flushed after them."""
        flushed: dict[str, int] = {}
        renames: list[tuple[int, str, str]] = []
        for line in self._log.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "D":
                renames = [item for item in renames if str(Path(item[2]).parent) != rest]
            elif kind == "S":
                size, _, path = rest.partition(" ")
                flushed[path] = max(int(size), flushed.get(path, 0))
            elif kind == "R":
                number, _, names = rest.partition(" ")
                old, _, new = names.partition("\t")
                flushed[new] = flushed.pop(old, 0)
                renames.append((int(number), old, new))
        return flushed, renames
