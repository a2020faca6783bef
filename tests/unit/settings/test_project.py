"""A project is found from wherever one stands in it."""

import stat

import pytest

from mas_core.errors import ConfigurationError, ProjectNotFound
from mas_core.settings.project import find_project, require_project


def test_a_project_is_found_from_a_folder_below(project):
    """The nearest mas.yaml upwards decides."""
    below = project.root / "a" / "b"
    below.mkdir(parents=True)

    assert find_project(below) == project


def test_the_variable_names_the_file(project, tmp_path, monkeypatch):
    """MAS_CONFIG_FILE wins over the current folder and may name a folder."""
    monkeypatch.chdir(tmp_path)

    assert find_project(environ={}) is None
    assert find_project(environ={"MAS_CONFIG_FILE": str(project.config_path)}) == project
    assert find_project(environ={"MAS_CONFIG_FILE": str(project.root)}) == project
    with pytest.raises(ConfigurationError, match="there is no file"):
        find_project(environ={"MAS_CONFIG_FILE": str(tmp_path / "no.yaml")})


def test_no_project_says_how_to_make_one(tmp_path):
    """The hint is the command that makes a project."""
    with pytest.raises(ProjectNotFound) as caught:
        require_project(tmp_path)

    assert caught.value.hint == ("mas init DIR",)


def test_the_folders_of_a_project_are_private(project):
    """Each exists once asked for, with mode 0700."""
    folders = [project.data_dir, project.run_dir, project.keys_dir, project.tokens_dir]
    folders += [project.logs_dir, project.server_dir]

    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert {folder.relative_to(project.root).parts[0] for folder in folders} == {".mas"}
