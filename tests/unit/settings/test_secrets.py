"""Secrets by reference: where they come from, and that nothing shows them."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.settings import secret_sources
from mas_core.settings.private_files import read_token, write_private, write_token
from mas_core.settings.secrets import check_own, filled, holds_reference, read_secret, resolve

VALUE = "s3cr3t-µ-value"


def program(text: str) -> str:
    return f"cmd:{shlex.join([sys.executable, '-c', text])}"


def test_each_kind_of_reference_leads_to_its_secret(tmp_path, monkeypatch):
    """Variables, files beside the file that says it, programs; one end of line is not part of a secret."""
    monkeypatch.setenv("OUR_SECRET", VALUE)
    write_private(tmp_path / "secret", f"{VALUE}\n".encode())
    (tmp_path / "link").symlink_to("secret")

    found = [
        resolve(reference, tmp_path).get_secret_value()
        for reference in (
            "env:OUR_SECRET",
            "file:secret",
            f"file:{tmp_path}/secret",
            f"file://{tmp_path}/secret",
            "file:link",
            program("import sys; sys.stdout.buffer.write('s3cr3t-µ-value\\r\\n'.encode())"),
            "cmd:cat secret",
        )
    ]

    assert found == [VALUE] * 7


def test_nothing_that_is_printed_shows_a_secret(tmp_path, monkeypatch):
    """Neither repr, str, a format nor an error that was raised about it."""
    monkeypatch.setenv("OUR_SECRET", VALUE)
    secret = resolve("env:OUR_SECRET", tmp_path)

    assert VALUE not in f"{secret} {secret!r} {[secret]}"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("env:NOT_THERE", "not set"),
        ("file:not-there", "No such file"),
        ("file:open", "can be read by other users"),
        ("file:.", "Is a directory"),
        ("file:", "names no file"),
        ("file:empty", "is empty"),
        ("file:zero", "zero byte"),
        ("file:binary", "holds no text"),
        ("cmd:", "names no program"),
        ("cmd:cat 'x", "quote is not closed"),
        ("cmd:/not/there", "No such file"),
        ("cmd:false", "exit code 1"),
        ("cmd:yes", "printed more than"),
        ("vault:nowhere:place", "no plug-in for 'nowhere' is installed"),
        ("vault:nowhere", "names no plug-in"),
        ("azkv://", "names no secret of a vault"),
        ("azkv://bad_vault/name", "names no secret of a vault"),
        ("azkv://vault/bad_name", "names no secret of a vault"),
    ],
)
def test_what_cannot_be_had_is_said_with_the_reason(tmp_path, monkeypatch, reference, reason):
    """Which reference, why, and what to type; what the file or the program holds is not part of it."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    (tmp_path / "open").write_text(VALUE)
    (tmp_path / "open").chmod(0o644)
    for name, content in (("empty", b"\n"), ("zero", b"a\0b"), ("binary", b"\xff\xfe")):
        write_private(tmp_path / name, content)

    with pytest.raises(SecretUnavailable, match=reason) as caught:
        resolve(reference, tmp_path)

    assert reference.split()[0] in caught.value.message
    assert VALUE not in f"{caught.value!r} {caught.value.details}"
    assert caught.value.__cause__ is None


def test_a_secret_in_the_place_of_a_name_is_not_repeated(tmp_path):
    """Somebody took `env:` for a mark of secrets."""
    with pytest.raises(
        SecretUnavailable, match=r"env:\.\.\. cannot be had: no variable can have this name"
    ) as caught:
        resolve("env:hunter2!", tmp_path)

    assert "hunter2" not in str(caught.value) + str(caught.value.details)


def test_what_a_program_says_beside_its_output_is_dropped(tmp_path, capfd):
    """Its standard error may hold the secret, and ours may go to a log; its arguments are not repeated either."""
    failing = program(f"import sys; sys.stderr.write('{VALUE}'); print('{VALUE}'); sys.exit(3)")

    with pytest.raises(SecretUnavailable, match="exit code 3") as caught:
        resolve(failing, tmp_path)

    assert VALUE not in str(caught.value) + str(caught.value.details)
    assert VALUE not in "".join(capfd.readouterr())


def test_a_program_gets_no_shell_and_no_input(tmp_path):
    """What a shell would understand is an argument; what waits for input ends."""
    text = "import sys; print(sys.argv[1:], repr(sys.stdin.read()))"

    found = resolve(f"{program(text)} '$(id)' ; echo x", tmp_path).get_secret_value()

    assert found == "['$(id)', ';', 'echo', 'x'] ''"


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path, monkeypatch):
    """Nothing of it is left behind."""
    monkeypatch.setattr(secret_sources, "COMMAND_SECONDS", 0.3)
    mark = tmp_path / "pid"
    text = (
        f"import os, time\nif child := os.fork(): open({str(mark)!r}, 'w').write(str(child))\ntime.sleep(60)"
    )

    with pytest.raises(SecretUnavailable, match="took longer than"):
        resolve(program(text), tmp_path)

    command_line = Path("/proc", mark.read_text(), "cmdline")
    for _ in range(100):
        # Of a process that has ended there is nothing, or nothing in it until somebody has asked how it ended.
        if not command_line.exists() or not command_line.read_bytes():
            break
        time.sleep(0.02)
    else:
        pytest.fail("it runs on")


def test_a_url_takes_secrets_by_reference(tmp_path, monkeypatch):
    """Whole, or in its parts and then percent-encoded; what is a reference to nothing is said."""
    monkeypatch.setenv("OUR_PASSWORD", "p@ss/${env:HOME}:?#")
    monkeypatch.setenv("OUR_URL", "redis://:whole@host\n")

    assert filled("redis://app:${env:OUR_PASSWORD}@host", tmp_path) == (
        "redis://app:p%40ss%2F%24%7Benv%3AHOME%7D%3A%3F%23@host"
    )
    assert filled("env:OUR_URL", tmp_path) == "redis://:whole@host"
    assert filled("redis://app:plain@host", tmp_path) == "redis://app:plain@host"
    assert not holds_reference("redis://app:plain@host")
    with pytest.raises(ConfigurationError, match="no reference"):
        filled("redis://app:${OUR_PASSWORD}@host", tmp_path)


def test_a_secret_is_no_reference_again(tmp_path, monkeypatch):
    """Whoever can write a secret of a vault gets no program run and no file read."""
    monkeypatch.setenv("OUR_URL", "redis://:${cmd:touch got-in}@host")
    with pytest.raises(SecretUnavailable, match="is a reference itself"):
        filled("env:OUR_URL", tmp_path)
    monkeypatch.setenv("OUR_URL", "cmd:touch got-in")
    with pytest.raises(SecretUnavailable, match="is a reference itself"):
        filled("env:OUR_URL", tmp_path)

    assert not (tmp_path / "got-in").exists()


def test_what_is_no_reference_is_not_repeated(tmp_path):
    """Somebody has put the secret itself there."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(VALUE, tmp_path)

    assert VALUE not in str(caught.value)


def test_a_private_file_may_hold_a_reference(tmp_path, monkeypatch):
    """A token or key file points elsewhere; it has to be private all the same."""
    monkeypatch.setenv("BILLING_TOKEN", "mas_token")
    path = write_token(tmp_path, "billing", "env:BILLING_TOKEN")
    write_token(tmp_path, "hello", "mas_other")

    assert read_token(tmp_path, "billing") == "mas_token"
    assert read_token(tmp_path, "hello") == "mas_other"
    monkeypatch.delenv("BILLING_TOKEN")
    with pytest.raises(SecretUnavailable) as caught:
        read_secret(path)
    assert caught.value.details["path"] == str(path)
    path.chmod(0o640)
    with pytest.raises(SecretUnavailable, match="other users"):
        read_token(tmp_path, "billing")


def test_a_plug_in_fetches_secrets(tmp_path, monkeypatch):
    """An installed package names a function; of its own errors only the kind is told."""
    (tmp_path / "our_vault.py").write_text(
        "from mas_core.errors import SecretUnavailable\n"
        "def fetch(place):\n"
        "    if place == 'locked': raise SecretUnavailable('the vault is locked', hint='vault unlock')\n"
        "    if place == 'broken': raise ValueError('s3cr3t-µ-value')\n"
        "    return None if place == 'nothing' else f'value of {place}'\n"
    )
    facts = tmp_path / "our_vault-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: our-vault\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[mas.secrets]\nours = our_vault:fetch\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert resolve("vault:ours:kv/redis:1", tmp_path).get_secret_value() == "value of kv/redis:1"
    with pytest.raises(SecretUnavailable, match="the vault is locked") as caught:
        resolve("vault:ours:locked", tmp_path)
    assert caught.value.hint == ("vault unlock",)
    with pytest.raises(SecretUnavailable, match="failed with ValueError") as caught:
        resolve("vault:ours:broken", tmp_path)
    assert VALUE not in str(caught.value)
    with pytest.raises(SecretUnavailable, match="gave no text"):
        resolve("vault:ours:nothing", tmp_path)


def test_references_in_files_of_others_are_not_followed(tmp_path, monkeypatch):
    """A mas.yaml that others can write must not make us run programs or send private files away."""
    path = tmp_path / "mas.yaml"
    path.write_text("name: x\n")
    path.chmod(0o644)
    check_own(path)
    path.chmod(0o664)
    with pytest.raises(ConfigurationError, match="others can change"):
        check_own(path)
    path.chmod(0o644)
    if os.getuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="another user"):
        check_own(path)
