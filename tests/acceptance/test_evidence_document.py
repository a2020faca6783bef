"""The auditor's walk-through of docs/evidence.md works as typed, with nothing but what it names."""

import shutil
from pathlib import Path

from support.followed_evidence import write_proof
from support.shell_documents import Step, differences, shell_of, steps_of

DOCS = Path(__file__).parents[2] / "docs"


def test_the_auditors_steps_end_and_answer_as_written(tmp_path):
    """In a folder with the export, the public key, a proof and the script; no system, no project."""
    desk = tmp_path / "auditor"
    desk.mkdir()
    write_proof(tmp_path)
    for name in ("evidence", "audit.pub", "proof.json"):
        shutil.move(tmp_path / name, desk / name)
    shutil.rmtree(tmp_path / "evidence-keys")
    shutil.copy(DOCS / "check_proof.py", desk)
    problems = []

    with shell_of(desk) as shell:
        steps = [step for step in steps_of((DOCS / "evidence.md").read_text()) if isinstance(step, Step)]
        for step in steps:
            code, lines = shell.run(step.command)
            found = differences(step.output, lines) if step.output != ["..."] else []
            if found or code != step.exit_code:
                problems += [f"{step.line}: $ {step.command} ended with {code}", *found, *lines]

    assert len(steps) > 10
    assert not problems, "\n".join(problems)
