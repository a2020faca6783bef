"""Hostile specs, project files and policies: nothing of them runs, each is refused with its line (S23, S24)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mas_core.errors import SpecInvalid
from mas_core.settings.agent_spec import load_specs
from mas_core.settings.policy_file import load_policy_file
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config

BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    + [f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 12)]
)
HOSTILE = {
    "a program in a tag": "agent_id: !!python/object/apply:os.system ['touch TELLTALE']\n",
    "an object in a tag": "agent_id: !!python/object/new:pathlib.Path [TELLTALE]\n",
    "a module in a tag": "agent_id: !!python/module:antigravity ''\n",
    "aliases of aliases": BOMB,
    "a key twice": "agent_id: a\nexec: cat\nagent_id: b\n",
    "ten megabytes": "# " + "x" * 10_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["spec", "policy", "project"])
def test_s23_hostile_yaml_runs_nothing_and_names_its_line(tmp_path, name, kind):
    """In every file that is YAML."""
    telltale = tmp_path / "telltale"
    text = HOSTILE[name].replace("TELLTALE", str(telltale))
    (tmp_path / "agents.d").mkdir()
    path = tmp_path / {"spec": "agents.d/a.yaml", "policy": "policy.yaml", "project": "mas.yaml"}[kind]
    (tmp_path / "mas.yaml").write_text("")
    path.write_text(text)

    load = {
        "spec": lambda: load_specs(tmp_path / "agents.d"),
        "policy": lambda: load_policy_file(path),
        "project": lambda: load_config(project_at(tmp_path)),
    }[kind]
    with pytest.raises(SpecInvalid) as caught:
        load()

    assert not telltale.exists()
    assert str(path) in caught.value.message
    if name == "a key twice":
        assert caught.value.line == 3


@pytest.mark.parametrize(
    "class_path",
    [
        "os.system",
        "os:system",
        "subprocess:Popen",
        "../../x",
        "..:x",
        "telltale:x/y",
        "builtins:eval",
        "a b:C",
    ],
)
def test_s24_a_class_from_elsewhere_is_refused_by_the_command(tmp_path, class_path):
    """`mas agent validate` says so with file and line, and imports nothing."""
    (tmp_path / "mas.yaml").write_text("")
    (tmp_path / "agents.d").mkdir()
    (tmp_path.parent / "telltale.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "agents.d" / "a.yaml").write_text(f"agent_id: a\nclass_path: '{class_path}'\n")

    ran = subprocess.run(
        [sys.executable, "-m", "mas_cli", "agent", "validate", "--config", str(tmp_path), "-o", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )

    assert ran.returncode in {1, 2}
    (problem,) = json.loads(ran.stdout)
    assert (Path(problem["path"]).name, problem["line"]) == ("a.yaml", 2)
    assert "imported" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
