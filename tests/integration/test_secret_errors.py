"""What goes wrong is told without the secrets that it went wrong with."""

from __future__ import annotations

import traceback

import pytest

from mas_core.errors import MasError
from mas_core.events.store import EventStore
from mas_core.settings.layers import environment_layer
from mas_core.settings.project import project_at
from mas_core.settings.project_config import ProjectConfig, load_config
from mas_core.store.connection import Connection

SECRET = "hunter2-canary-0815"


def said(error: BaseException) -> str:
    """All that a log could get of an error."""
    details = getattr(error, "details", {})
    return "".join(traceback.format_exception(error)) + repr(error) + repr(details)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@127.0.0.1:1/events",
        f"postgresql+nothing://app:{SECRET}@127.0.0.1/events",
        f"nothing://app:{SECRET}@127.0.0.1/events",
        f"postgresql://app:{SECRET}@127.0.0.1:port/events",
        f"mssql://app:{SECRET}@127.0.0.1:1/events",
    ],
)
async def test_a_database_that_cannot_be_used_is_told_without_its_password(url):
    """Whatever driver fails, and however."""
    with pytest.raises(MasError) as caught:
        async with EventStore(url):
            pass

    assert SECRET not in said(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://app:{SECRET}@127.0.0.1:1/0",
        f"redis://app:{SECRET}@127.0.0.1:port/0",
        f"rediss://:{SECRET}@127.0.0.1:1?ssl_ca_certs=/not/there",
        f"redis+cluster://app:{SECRET}@127.0.0.1:1",
        f"redis+sentinel://app:{SECRET}@127.0.0.1:1/main?sentinel_password={SECRET}",
        f"redis+sentinel://app:{SECRET}@127.0.0.1:1",
        f"redis+cluster://app:{SECRET}@:::",
        f"redis://127.0.0.1:1?password={SECRET}&db=x",
        f"http://app:{SECRET}@127.0.0.1:1",
        f"app:{SECRET}@127.0.0.1:1",
        f"unix://:{SECRET}@/not/there.sock",
    ],
)
async def test_a_server_that_cannot_be_used_is_told_without_its_password(url):
    """Whether it does not answer or the URL cannot be read."""
    with pytest.raises(MasError) as caught:
        await Connection(url, timeout=0.5).call("PING")

    assert SECRET not in said(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"url: [{SECRET}]\n",
        f"profile: {SECRET}\n",
        f"{SECRET}x: 1\nurl: {{a: {SECRET}}}\n",
        f"events: {{record: {SECRET}, keep_days: {SECRET}}}\n",
        f"gateway: {{audit: {{timestamp_url: {SECRET}, witnesses: [{{url: {SECRET}}}]}}}}\n",
        f"url: 'redis://:{SECRET}@host\n",
        f"url: {SECRET}: {SECRET}\n",
    ],
)
def test_settings_that_cannot_be_used_are_told_without_their_values(tmp_path, text):
    """A secret may stand in the wrong place; only names of fields are shown."""
    (tmp_path / "mas.yaml").write_text(text)

    with pytest.raises(MasError) as caught:
        load_config(project_at(tmp_path))

    assert SECRET not in said(caught.value).replace(f"{SECRET}x", "")


def test_an_environment_that_cannot_be_used_is_told_without_its_values(monkeypatch):
    """A variable that should hold JSON."""
    monkeypatch.setenv("MAS_EVENTS", f'{{"url": "postgresql://:{SECRET}@host"')

    with pytest.raises(MasError) as caught:
        environment_layer(ProjectConfig)

    assert SECRET not in said(caught.value)
