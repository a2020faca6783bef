"""`mas tui --serve`: nobody sees anything before the secret, and then it is the dashboard."""

import base64
import json
import re
import socket
import time
import urllib.error
import urllib.request

import pytest
from support import browser

RECORDING = [
    {"recording": "mas", "format": 1, "version": "0", "context": "incident", "time": "2026-11-21T10:00:00Z"},
    *(
        {
            "time": f"2026-11-21T10:00:0{number}Z", "from": "billing", "to": "ledger", "type": "invoice.create",
            "bytes": 120, "ms": 4, "decision": "forbidden", "reason": "no rule", "rule": "", "id": f"m{number}",
        }
        for number in range(3)
    ),
]  # fmt: skip


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def served(mas_process, tmp_path):
    """Serves a recording; gives the address that was printed."""

    def start(*more):
        path = tmp_path / "incident.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in RECORDING))
        process = mas_process("tui", "--serve", "--replay", str(path), "--port", str(free_port()), *more)
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        return found[0]

    return start


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own server
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


@pytest.mark.slow
def test_nothing_is_served_without_the_key(served):
    """Neither page nor socket; not by another name, and not to the page of another site."""
    url = served()
    base = url.partition("?")[0]
    socket_headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    }  # fmt: skip

    for place in ("", "ws", "static/js/textual.js", "download/x", "nothing"):
        assert get(base + place)[0] == 401
    assert get(base + "ws", **socket_headers)[0] == 401
    assert get(base + "?key=wrong")[0] == 401
    assert get(url, Host="evil.example")[0] == 403
    assert get(url, Origin="http://evil.example")[0] == 403

    status, headers = get(url)
    assert status == 303
    assert headers["Location"] == "/"
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.partition(";")[0]
    assert get(base, Cookie=session)[0] == 200
    assert get(base + "ws", Cookie=session, Origin="http://evil.example", **socket_headers)[0] == 403
    status, headers = get(base, Cookie=session)
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.slow
def test_a_password_is_asked_before_anything_is_served(served, tmp_path):
    """On every address; the key of the address is not there then."""
    path = tmp_path / "password"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    url = served("--password-file", str(path), "--host", "0.0.0.0", "--allow-remote")  # noqa: S104 - the case
    base = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104

    assert "key" not in url
    status, headers = get(base)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic ")
    for wrong in ("mas:wrong", ":", "correct horse battery"):
        assert get(base, Authorization="Basic " + base64.b64encode(wrong.encode()).decode())[0] == 401
    assert get(base, Authorization="Basic %%%")[0] == 401
    right = "Basic " + base64.b64encode(b"mas:correct horse battery").decode()
    assert get(base, Authorization=right)[0] == 200


def test_other_machines_are_served_only_on_purpose(mas, tmp_path):
    """Not by --host alone, not without a password, not with one that others can read, not with a short one."""
    path = tmp_path / "recording"
    path.write_text(json.dumps(RECORDING[0]) + "\n")
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    password.chmod(0o644)
    call = ("tui", "--serve", "--replay", str(path), "--host", "0.0.0.0")  # noqa: S104 - the case

    assert "--allow-remote" in mas(*call).err
    assert "--password-file" in mas(*call, "--allow-remote").err
    open_to_all = mas(*call, "--allow-remote", "--password-file", str(password))
    assert open_to_all.code != 0
    assert "chmod 600" in open_to_all.err
    password.write_text("short\n")
    password.chmod(0o600)
    assert mas(*call, "--allow-remote", "--password-file", str(password)).code == 2


@pytest.mark.slow
def test_a_browser_shows_the_dashboard(served, tmp_path):
    """A real one: the screen is drawn, and keys typed there reach the dashboard."""
    browser.program()
    url = served("--screen", "live")
    with browser.browser() as page:
        page.look(width=1200, height=800)
        page.call("Page.navigate", url=url)
        end = time.monotonic() + 60
        while not page.ask("document.body?.classList.contains('-first-byte')"):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "key=" not in page.ask("location.href")
        pictures = [drawn(page, unlike=b"")]
        page.ask("document.querySelector('textarea').focus()")
        page.call("Input.insertText", text="?")
        pictures.append(drawn(page, unlike=pictures[0]))
        (tmp_path / "served.png").write_bytes(pictures[0])
        (tmp_path / "keys.png").write_bytes(pictures[1])


def drawn(page, *, unlike):
    """A picture of a page on which something stands, once it is another than this one and holds still."""
    end = time.monotonic() + 60
    before = unlike
    while True:
        time.sleep(0.5)
        assert time.monotonic() < end
        now = page.picture()
        if now == before != unlike and len(now) > 20_000:
            return now
        before = now
