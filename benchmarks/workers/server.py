"""A server of agents of the measured system: `server.py FOLDER`; it says `ready` and its port."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mas_core.base.event_loop import run
from mas_core.base.stop_signals import told_to_stop
from mas_core.server.process import ServerPlace, serve
from mas_core.settings.target import resolve_target
from mas_core.settings.tls_files import TlsFiles


async def _main(certs: Path) -> None:
    def on_change(change: str, address: str) -> None:
        if change == "ready":
            sys.stdout.write(f"ready\n{address.rpartition(':')[2]}\n")
            sys.stdout.flush()

    shown = certs / "server-localhost.pem"
    place = ServerPlace("127.0.0.1:0", TlsFiles(shown, shown, certs / "ca.pem"), "mas")
    await serve(resolve_target(), place, told_to_stop(until_input_ends=True), on_change=on_change)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    run(_main(Path("certs").resolve()))
