"""A gateway of the measured system: `gateway.py FOLDER`; it says `ready` and ends with its input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.stage_profile import StageProfile
from mas_core.base.event_loop import run
from mas_core.base.stop_signals import told_to_stop
from mas_core.gateway.process import serve
from mas_core.settings.target import resolve_target


async def _main(profile: StageProfile | None) -> None:
    def on_change(change: str, _gateway_id: str) -> None:
        if change == "ready":
            if profile is not None:
                profile.start()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
        elif profile is not None:
            profile.stop()

    await serve(resolve_target(), told_to_stop(until_input_ends=True), on_change=on_change)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    path = os.environ.get("BENCH_STAGE_PROFILE")
    made = StageProfile() if path else None
    run(_main(made))
    if path and made is not None:
        Path(path).write_text(made.as_json())
