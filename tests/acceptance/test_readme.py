"""The README does what it says: its blocks run in their order, and end and answer as they stand there."""

import os
import re
import shutil
from pathlib import Path

import pytest
from support.shell_documents import NewFile, Shell, differences, shell_of, steps_of

from mas_core.settings.policy_file import load_policy_file

REPOSITORY = Path(__file__).parents[2]
PARTS = ("mas.yaml", "policy.yaml", "agents.d")

IN_THE_BACKGROUND = {"make run": "mas up"}
"""Set-up is done already when tests run, so the command behind the target stands for it."""
NOT_HERE = {"make test", ". .venv/bin/activate", "pip install ."}


@pytest.mark.slow
def test_readme_commands_end_and_answer_as_written(tmp_path):
    """Every command of the README's console blocks ends and prints as the README shows."""
    checkout = tmp_path / "mas"
    checkout.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
        copy(REPOSITORY / part, checkout / part)
    problems = []

    with shell_of(checkout) as shell:
        for step in steps_of((REPOSITORY / "README.md").read_text()):
            if isinstance(step, NewFile):
                shell.write(step)
            elif step.command not in NOT_HERE:
                problems += _problems(shell, step)

    assert not problems, "\n".join(problems)


def _problems(shell: Shell, step) -> list[str]:
    if stand_in := IN_THE_BACKGROUND.get(step.command):
        code, lines = shell.start(stand_in, until=step.output[-1])
    else:
        code, lines = shell.run(step.command)
    found = differences(step.output, lines)
    if code != step.exit_code:
        found.append(f"  ended with {code} instead of {step.exit_code}")
    if not found:
        return []
    return [
        f"README.md:{step.line}: $ {step.command}",
        *found,
        "  printed:",
        *(f"    {line}" for line in lines),
    ]


def test_the_policy_that_the_readme_shows_can_be_used(tmp_path):
    """All four parts of it are read, and the rules are what the text says."""
    (shown,) = re.findall(
        r"^```yaml\n(rules:\n.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    path = tmp_path / "policy.yaml"
    path.write_text(shown)

    policy = load_policy_file(path)

    assert ("role:stations", "thermometer", "weather.*", "send") in {
        (rule.sender, rule.target, rule.type, rule.action) for rule in policy.rules
    }
    assert all((policy.roles, policy.default_limit, policy.limits, policy.dlp_actions))


def test_steps_are_read_with_files_exit_codes_and_continued_lines():
    """A block of a named file is a file; `echo $?` tells how the command before it ends."""
    text = (
        "# Title\n"
        "```python\n# agents.d/a.py\nprint(1)\n```\n"
        "```console\n$ mas one\n$ mas two \\\n>   --more\nout\n$ echo $?\n5\n```\n"
        "```text\n$ not run\n```\n"
    )

    file, one, two, echo = steps_of(text)

    assert (file.path, file.text) == ("agents.d/a.py", "print(1)\n")
    assert (one.command, one.output, one.exit_code) == ("mas one", [], 0)
    assert (two.command, two.output, two.exit_code) == ("mas two \\\n  --more", ["out"], 5)
    assert (echo.command, echo.output, echo.exit_code) == ("echo $?", ["5"], 0)


@pytest.mark.parametrize(
    ("written", "printed", "missing"),
    [
        (["took 2.5 s"], ["took 13.1 s"], 0),
        (["id        01M7YPGH80HMBC8BY8T6PRPBNS"], ["id   01M7YPMMGTF2WBFMJ2VG2YH02P"], 0),
        (["first", "...", "last"], ["first", "between", "last"], 0),
        (["decision  allowed"], ["decision  denied"], 1),
        (["a line"], [], 1),
        ([], ["mas: refused: something"], 1),
    ],
)
def test_outputs_are_compared_without_what_changes_from_run_to_run(written, printed, missing):
    """Times and ids may differ, words may not."""
    assert missing == len(differences(written, printed))


def test_shell_keeps_folder_and_exit_code(tmp_path):
    """A step goes on where the one before it ended, and cannot read what comes after it."""
    (tmp_path / "inner").mkdir()

    with shell_of(tmp_path) as shell:
        shell.run("cd inner")
        folder = shell.run("pwd")
        failed = shell.run("cat; false")
        code = shell.run("echo $?")

    assert (0, [os.path.realpath(tmp_path / "inner")]) == folder
    assert failed == (1, [])
    assert code == (0, ["1"])
