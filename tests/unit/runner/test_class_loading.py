"""Which classes a spec may name is decided before any of their code runs."""

import sys

import pytest

from mas_core.errors import SpecInvalid
from mas_core.runner.class_loading import ClassLoader, class_problems
from mas_core.settings.agent_spec import load_specs

TELLTALE = "import pathlib\npathlib.Path({path!r}).touch()\nclass Innocent: pass\n"


@pytest.fixture
def folder(tmp_path):
    """A project folder with one module that leaves a mark when it is imported."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "marked.py").write_text(TELLTALE.format(path=str(tmp_path / "mark")))
    return root


@pytest.mark.parametrize(
    "class_path",
    [
        "os.system",
        "os:system",
        "subprocess:Popen",
        "../../x",
        "../../x:Y",
        "/etc/passwd:X",
        "builtins:eval",
        "mas_core.agent:Agent",
        "telltale:Innocent",
        "marked:Innocent\n",
        "x:__class__.__mro__",
        "",
    ],
)
def test_s24_what_is_outside_is_refused_before_it_is_imported(folder, tmp_path, monkeypatch, class_path):
    """Nothing of a refused module runs, even when Python could import it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "telltale.py").write_text(TELLTALE.format(path=str(tmp_path / "mark")))
    monkeypatch.syspath_prepend(elsewhere)
    before = set(sys.modules)

    with pytest.raises(SpecInvalid):
        ClassLoader([folder], ["allowed"]).load(class_path)

    assert not (tmp_path / "mark").exists()
    assert not {"telltale", "marked"} & (set(sys.modules) - before)


def test_s24_a_link_does_not_lead_out_of_the_project(folder, tmp_path):
    """A module is where its file really is."""
    (tmp_path / "outside.py").write_text("class X: pass\n")
    (folder / "inside.py").symlink_to(tmp_path / "outside.py")

    with pytest.raises(SpecInvalid, match="not allowed"):
        ClassLoader([folder]).check("inside:X")


def test_checking_imports_nothing_and_knows_near_misses(folder, tmp_path):
    """`mas agent validate` runs no code of agents, and still finds a misspelt class."""
    loader = ClassLoader([folder])

    assert loader.check("marked:Innocent") == folder / "marked.py"
    with pytest.raises(SpecInvalid) as caught:
        loader.check("marked:Inocent")

    assert caught.value.hint == ("did you mean Innocent?",)
    assert not (tmp_path / "mark").exists()


def test_an_allowed_prefix_is_a_whole_package_name(folder):
    """`mas` does not allow `mas_core`, and `package` allows what is in it."""
    assert ClassLoader([folder], ["package"]).check("package.module:X") is None
    with pytest.raises(SpecInvalid):
        ClassLoader([folder], ["mas"]).check("mas_core.agent:Agent")


def test_a_broken_module_names_its_line(folder):
    """A syntax error is told with file and line."""
    (folder / "broken.py").write_text("class A:\n    def\n")

    with pytest.raises(SpecInvalid, match=r"broken\.py:2"):
        ClassLoader([folder]).check("broken:A")


def test_s24_only_agents_are_loaded_and_the_files_are_known(folder):
    """A class that is no Agent is refused; a module of the project wins over an installed one of its name."""
    (folder / "pip.py").write_text(
        "from mas_core.agent import Agent\nimport shared_thing\nclass A(Agent): pass\n"
    )
    (folder / "shared_thing.py").write_text("")
    (folder / "marked.py").write_text("class Innocent: pass\n")
    loader = ClassLoader([folder])
    try:
        assert loader.load("pip:A").__name__ == "A"
        assert loader.imported_files() == [str(folder / "pip.py"), str(folder / "shared_thing.py")]
        with pytest.raises(SpecInvalid, match="no subclass of"):
            loader.load("marked:Innocent")
    finally:
        sys.path.remove(str(folder))
        for name in ("pip", "shared_thing", "marked"):
            sys.modules.pop(name, None)


def test_problems_name_file_and_line_of_the_spec(folder):
    """The mistake is told where the person wrote it."""
    (folder / "a.yaml").write_text("agent_id: a\n\nclass_path: subprocess:Popen\n")

    (problem,) = class_problems(load_specs(folder), ClassLoader([folder]))

    assert (problem.path, problem.line) == (str(folder / "a.yaml"), 3)
    assert "class_prefixes: [subprocess]" in problem.hint
