"""S29: what our processes log is one JSON record a line, whoever logs it and whatever is in it."""

import json
import subprocess
import sys

PROGRAM = r"""
import asyncio, logging, warnings
from mas_core.base.logs import get_logger, log_to_stderr

log_to_stderr(of_everybody=True)
hostile = 'x\n{"level": "info", "event": "forged"}\x1b[31m\u2028' + chr(0xD800)
get_logger("mas_core.test").warning("ours", name=hostile)
logging.getLogger("somebody").error("theirs %s", hostile)
logging.getLogger("somebody").info("not told")
warnings.warn(hostile)

async def fails():
    raise ValueError("secret " + hostile)

async def main():
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task

asyncio.run(main())
raise RuntimeError("secret " + hostile)
"""


def test_s29_every_line_of_a_process_is_one_json_record():
    """Newlines, escapes and forged records stay inside; exceptions tell where they were and never what they say."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"secret" not in done.stderr
    records = [json.loads(line) for line in done.stderr.splitlines()]
    events = [record["event"] for record in records]
    assert events == ["ours", "log", "log", "log", "crashed"]
    assert [record.get("logger") for record in records[1:4]] == ["somebody", "py.warnings", "asyncio"]
    assert all({"time", "level"} <= record.keys() for record in records)
    assert "ValueError at" in records[3]["trace"]
    assert "RuntimeError at" in records[4]["trace"]


def test_s29_lines_for_people_are_one_record_each_too():
    """What is logged cannot begin a line of its own, nor reach the terminal."""
    program = PROGRAM.replace("of_everybody=True", "as_text=True").partition("logging.getLogger")[0]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    (line,) = done.stderr.splitlines()

    assert b"\x1b" not in line
    assert line.split()[1:3] == [b"WARNING", b"ours"]
    assert rb"name=\"x\n{" in line.replace(b'"', rb"\"")
