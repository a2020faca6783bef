"""A new project works as it is made, and checks find mistakes without running anything."""

import pytest

from mas_core.errors import Conflict, InvalidIdentifier, SpecInvalid
from mas_core.ops.project import agent_files, init_project, new_agent, validate_specs
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config


def test_a_new_project_is_valid_and_lets_only_the_operator_talk(tmp_path):
    """One agent, one rule, nothing to complain about."""
    written = init_project(tmp_path / "My Shop")
    project = project_at(tmp_path / "My Shop")

    assert {str(path.relative_to(project.root)) for path in written} == {
        "mas.yaml",
        "policy.yaml",
        ".gitignore",
        "agents.d/hello.yaml",
        "agents.d/hello.py",
    }
    assert load_config(project).config.name == "my-shop"
    assert validate_specs(project)[1] == []
    rules = load_config(project).policy().rules
    assert [(rule.effect, rule.sender, rule.target) for rule in rules] == [("allow", "operator", "*")]


def test_a_project_is_not_made_twice_and_own_files_stay(tmp_path):
    """What a person wrote is never overwritten."""
    (tmp_path / ".gitignore").write_text("mine\n")

    init_project(tmp_path)

    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    with pytest.raises(Conflict):
        init_project(tmp_path)


def test_a_new_agent_is_valid_whatever_it_runs(tmp_path):
    """A class of its own, a program, or a class that is there already."""
    init_project(tmp_path)
    project = project_at(tmp_path)

    new_agent(project, "2nd-agent", capabilities=["a", "b.c"])
    new_agent(project, "lines", command=["python3", "-c", "print('x: y')"])
    new_agent(project, "twin", class_path="hello:Hello")

    specs, problems = validate_specs(project)
    assert problems == []
    by_id = {spec.agent_id: spec for spec in specs}
    assert set(by_id) == {"hello", "2nd-agent", "lines", "twin"}
    assert by_id["2nd-agent"].capabilities == ["a", "b.c"]
    assert by_id["lines"].command == ["python3", "-c", "print('x: y')"]


def test_a_new_agent_takes_no_place_that_is_taken(tmp_path):
    """Neither an id nor a file is taken over, and ids lead to no other folder."""
    init_project(tmp_path)
    project = project_at(tmp_path)

    with pytest.raises(Conflict):
        new_agent(project, "hello")
    with pytest.raises(InvalidIdentifier):
        agent_files("../../hello")
    with pytest.raises(SpecInvalid, match="not allowed"):
        new_agent(project, "shell", class_path="subprocess:Popen")
    assert not (tmp_path / "agents.d" / "shell.yaml").exists()


def test_everything_that_is_wrong_is_found_at_once(tmp_path):
    """Specs, class paths, programs, policy: one check tells all."""
    init_project(tmp_path)
    agents = tmp_path / "agents.d"
    (agents / "a.yaml").write_text("agent_id: a\nclass_path: os:system\n")
    (agents / "b.yaml").write_text("agent_id: b\nexec: [no-such-program-here]\n")
    (tmp_path / "policy.yaml").write_text("rules:\n  - alow: a -> b\n")

    problems = validate_specs(project_at(tmp_path))[1]
    assert [(problem.path.rpartition("/")[2], problem.line) for problem in problems] == [
        ("policy.yaml", 2),
        ("a.yaml", 2),
        ("b.yaml", 0),
    ]

    (agents / "c.yaml").write_text("agent_id: c\nexce: [x]\n")
    problems = validate_specs(project_at(tmp_path), [agents / "c.yaml", agents / "a.yaml"])[1]
    assert "did you mean exec?" in [problem.hint for problem in problems]
