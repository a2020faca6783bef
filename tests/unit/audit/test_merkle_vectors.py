"""The tree against the vectors of transparency-dev/merkle: right proofs pass, wrong ones never do."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mas_core.audit.merkle import verify_consistency, verify_inclusion

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "merkle"


def cases(name, count):
    found = json.loads((VECTORS / f"{name}.json").read_text())
    assert len(found) == count
    return [pytest.param(case, id=case["file"]) for case in found]


def bytes_of(text):
    return base64.b64decode(text or "")


def proof_of(case):
    return [bytes_of(step) for step in case["proof"] or ()]


@pytest.mark.parametrize("case", cases("inclusion", 98))
def test_inclusion(case):
    """A leaf is in the tree exactly when the vector says so."""
    is_right = verify_inclusion(
        bytes_of(case["leafHash"]), case["leafIdx"], case["treeSize"], proof_of(case), bytes_of(case["root"])
    )

    assert is_right is not case["wantErr"]


@pytest.mark.parametrize("case", cases("consistency", 98))
def test_consistency(case):
    """A tree begins with the smaller one exactly when the vector says so."""
    is_right = verify_consistency(
        case["size1"], case["size2"], proof_of(case), bytes_of(case["root1"]), bytes_of(case["root2"])
    )

    assert is_right is not case["wantErr"]
