"""A command works on what its flags, the environment, the project and the contexts say, in this order."""

import os
import stat

import pytest

from mas_core.errors import (
    Conflict,
    ContextNotFound,
    LockHeld,
    ProjectNotFound,
    StoreUnreachable,
    UsageError,
)
from mas_core.settings.contexts import ContextStore, make_context
from mas_core.settings.masking import mask_url
from mas_core.settings.running_context import (
    RunningContext,
    claimed,
    read_running,
    remove_running,
    running_pid,
    write_running,
)
from mas_core.settings.target import resolve_target


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """The variables of a user who stands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def contexts(environ):
    """Two contexts of that user: prod and test."""
    store = ContextStore(environ=environ)
    store.add(make_context(name="prod", url="redis://u:secret@prod/0", protected=True))
    store.add(make_context(name="test", url="redis://test/0", namespace="t"))
    return store


@pytest.fixture
def running_project(project):
    """A project that this process runs."""
    with claimed(project):
        write_running(project, running())
        yield project


def running(url="unix:///s?password=x", pid=0):
    return RunningContext(url=url, pid=pid or os.getpid(), started=1)


def test_nothing_at_all_is_no_project(environ):
    """The hint says both ways to begin."""
    with pytest.raises(ProjectNotFound) as caught:
        resolve_target(environ=environ)

    assert "mas init DIR" in caught.value.hint


def test_the_order_of_what_decides(environ, contexts, running_project, monkeypatch):
    """Flag, then MAS_URL, MAS_CONTEXT, REDIS_URL, then the running project, then the selected context."""
    project = running_project
    contexts.select("test")
    assert resolve_target(environ=environ).name == "test"
    monkeypatch.chdir(project.root)
    assert resolve_target(environ=environ).url == "unix:///s?password=x"
    environ |= {"REDIS_URL": "redis://r"}
    assert resolve_target(environ=environ).url == "redis://r"
    environ |= {"MAS_CONTEXT": "prod"}
    assert resolve_target(environ=environ).name == "prod"
    environ |= {"MAS_URL": "redis://m"}
    assert resolve_target(environ=environ).url == "redis://m"
    assert resolve_target(environ=environ, context="test").url == "redis://test/0"
    assert resolve_target(environ=environ, context="test", url="redis://f").url == "redis://f"
    assert resolve_target(environ=environ, url="redis://f").project == project


def test_a_project_that_does_not_run_is_never_replaced_by_a_context(environ, contexts, project, monkeypatch):
    """A command meant for a stopped project does not reach another system."""
    contexts.select("prod")
    monkeypatch.chdir(project.root)

    with pytest.raises(StoreUnreachable) as caught:
        resolve_target(environ=environ)

    assert caught.value.hint[0] == "mas up"


def test_what_a_killed_run_left_does_not_count(environ, project):
    """What it wrote is no running system, even where its process id belongs to another program."""
    with claimed(project):
        write_running(project, running())
        assert running_pid(project) == os.getpid()

    assert running_pid(project) == 0
    assert read_running(project) is None
    with pytest.raises(StoreUnreachable):
        resolve_target(environ=environ, config=project.root)


def test_a_project_is_run_by_one_process(project):
    """The second is told which the first is; afterwards the place is free."""
    with claimed(project):
        with pytest.raises(LockHeld) as caught, claimed(project):
            pass
        assert caught.value.details["owner"] == os.getpid()

    with claimed(project):
        assert running_pid(project) == os.getpid()


def test_a_run_takes_back_only_its_own_context(environ, running_project):
    """A late end of one run does not hide the next one."""
    project = running_project

    remove_running(project, os.getpid() + 1)
    assert resolve_target(environ=environ, config=project.root).source == "project"
    remove_running(project, os.getpid())
    with pytest.raises(StoreUnreachable):
        resolve_target(environ=environ, config=project.root)


def test_a_project_with_a_url_needs_nothing_running_here(environ, project):
    """The server may be elsewhere; keys and tokens are the project's."""
    project.config_path.write_text("url: redis://far/0\nnamespace: shop\npartitions: 3\n")

    target = resolve_target(environ=environ, config=project.config_path)

    assert (target.url, target.namespace, target.partitions) == ("redis://far/0", "shop", 3)
    assert target.tokens_dir == project.root / ".mas" / "tokens"


def test_secrets_do_not_show(environ, contexts, project):
    """Neither the representation of a target nor a masked URL has the password; files are private."""
    target = resolve_target(context="prod", environ=environ)
    write_running(project, running())

    assert "secret" not in repr(target) + target.shown_url
    assert target.protected
    assert mask_url("unix:///run/s?password=abc&db=1") == "unix:///run/s?password=****&db=1"
    assert mask_url("redis://:p@ss@h:1/0") == "redis://:****@h:1/0"
    files = [*contexts.folder.rglob("*.yaml"), project.run_dir / "context.json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_contexts_are_kept_renamed_and_forgotten(contexts):
    """Selection follows a rename and ends with a removal."""
    contexts.select("prod")
    contexts.select("test")
    assert contexts.previous().name == "prod"
    contexts.rename("prod", "live")
    assert [context.name for context in contexts.list()] == ["live", "test"]
    assert contexts.selected().name == "live"
    contexts.remove("live")
    assert contexts.selected() is None

    with pytest.raises(Conflict):
        contexts.add(make_context(name="test", url="redis://x"))
    with pytest.raises(UsageError, match="needs url or project"):
        make_context(name="x")


def test_an_unknown_context_suggests_a_near_one(contexts):
    """No name leads out of the folder, and a slip is recognised."""
    with pytest.raises(ContextNotFound) as caught:
        contexts.get("pord")
    assert caught.value.hint[0] == "did you mean prod?"
    with pytest.raises(ContextNotFound):
        contexts.get("../contexts/prod")
