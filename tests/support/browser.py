"""A headless Chromium, spoken to through a pipe by the DevTools protocol; a folder of its own, no network."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "MAS_REQUIRE_BROWSER"
"""Set where a missing browser is an error, as in continuous integration."""


def program() -> str:
    """The installed browser; skips the test where there is none and none is required."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), "")
    if not found:
        message = "no Chromium is installed: apt-get install chromium"
        if os.environ.get(REQUIRED):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Page:
    """One open page."""

    def __init__(self, into: int, out_of: int) -> None:
        self._into = into
        self._reader = os.fdopen(out_of, "rb", buffering=0)
        self._rest = b""
        self._numbers = itertools.count(1)
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._reader.read(1 << 20)
            assert chunk, "the browser ended"
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def look(self, *, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Look at the page at this size, in this colour scheme, on a screen or `print`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """The value of an expression in JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, *, top: int = 0, height: int | None = None) -> bytes:
        """A PNG of the page, or of a part of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        tall = min(size["height"] - top, height or size["height"])
        clip = {"x": 0, "y": top, "width": size["width"], "height": tall, "scale": 1}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(answer["data"])

    def paper(self) -> bytes:
        """The page as a PDF, as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])


@contextmanager
def browser() -> Iterator[Page]:
    """A browser with one page; both are gone when the block ends."""
    command = program()
    ours, theirs = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="mas-browser-", ignore_cleanup_errors=True) as folder:

        def pipes() -> None:
            reading, writing = os.dup(theirs[0]), os.dup(ours[1])
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        process = subprocess.Popen(
            [command, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             f"--user-data-dir={folder}", "about:blank"],
            close_fds=False, preexec_fn=pipes, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs[0])
        os.close(ours[1])
        page = None
        try:
            page = Page(theirs[1], ours[0])
            yield page
        finally:
            process.kill()
            process.wait()
            os.close(theirs[1])
            if page is not None:
                page._reader.close()
