"""Inclusion proofs of single records, checked by the package and by the script that needs nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.tampering import build_log

from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.note import VerifierKey
from mas_core.audit.proofs import check, prove
from mas_core.errors import MessageNotFound, ProofInvalid

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "check_proof.py"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return build_log(tmp_path_factory.mktemp("evidence") / "audit", 1500, 512)


def proof_of(log, seq):
    with EvidenceReader(log.folder, 0) as reader:
        return prove(reader, seq, [log.key])


def run_script(path, key):
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(path), str(key)], capture_output=True, text=True, timeout=60
    )


def test_the_script_is_short():
    """Who checks a proof can read all of it."""
    assert len(SCRIPT.read_text().splitlines()) <= 40


@pytest.mark.parametrize("seq", [1, 2, 512, 513, 1024, 1499, 1500])
def test_a_proof_holds(log, seq):
    """For records at both ends and at borders; it has at most 2 KB."""
    made = proof_of(log, seq)
    proven = check(made, [log.key])

    assert (proven.record.seq, proven.checkpoint.size, proven.key) == (seq, 1500, log.key)
    assert len(made) <= 2048


def test_a_proof_in_a_large_log_stays_small(log):
    """A tree of a hundred million records adds ten hashes to one of a hundred thousand."""
    made = json.loads(proof_of(log, 1500))
    largest = {**made, "hashes": "A" * (27 * 32 * 4 // 3)}

    assert len(json.dumps(largest, separators=(",", ":"))) <= 2560
    assert len(json.dumps({**largest, "record": ""}, separators=(",", ":"))) <= 2048


def test_the_script_says_the_same(log, tmp_path):
    """With the key as a file or as text."""
    path = tmp_path / "proof.json"
    path.write_bytes(proof_of(log, 700))
    by_file = run_script(path, log.folder / "audit.pub")
    by_text = run_script(path, log.key)

    assert (by_file.returncode, by_text.returncode) == (0, 0), by_file.stderr
    assert log.records[699].decode() in by_file.stdout


def _changed(made, **fields):
    return json.dumps({**json.loads(made), **fields}).encode()


def test_wrong_proofs_are_refused_by_both(log, tmp_path):
    """Another record, place, size, hash, root, signature or key."""
    made = proof_of(log, 700)
    proof = json.loads(made)
    note = proof["checkpoint"]
    other = VerifierKey(log.key.name, bytes(32))
    wrong = [
        _changed(made, record=proof["record"].replace("allowed", "blocked")),
        _changed(made, record=log.records[700].decode()),
        _changed(made, index=700),
        _changed(made, index=-1),
        _changed(made, hashes=proof["hashes"][:-44] + "A" * 43 + "="),
        _changed(made, hashes=""),
        _changed(made, hashes=proof["hashes"].replace("=", "") + "A" * 44),
        _changed(made, checkpoint=note.replace("\n1500\n", "\n1501\n")),
        _changed(made, checkpoint=note.replace("audit/0", "audit/1", 1)),
        _changed(made, checkpoint=note[: note.index("\n\n") + 2]),
    ]
    path = tmp_path / "proof.json"
    for number, data in enumerate(wrong):
        with pytest.raises(ProofInvalid):
            check(data, [log.key])
        path.write_bytes(data)
        assert run_script(path, log.key).returncode != 0, number
    with pytest.raises(ProofInvalid):
        check(made, [other])
    path.write_bytes(made)
    assert run_script(path, other).returncode != 0


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"format":"mas audit proof 1"}', b"\xff"])
def test_what_is_no_proof_is_refused(log, data):
    """Whatever a file holds."""
    with pytest.raises(ProofInvalid):
        check(data, [log.key])


def test_what_is_not_there_has_no_proof(log):
    """Nor has what no checkpoint covers."""
    with pytest.raises(MessageNotFound):
        proof_of(log, 1501)
    with pytest.raises(MessageNotFound):
        proof_of(log, 0)


def test_a_proof_that_would_not_hold_is_not_given(log, tmp_path):
    """Wrong hashes are noticed before somebody else does."""
    place = tmp_path / "audit" / "p0"
    place.mkdir(parents=True)
    for path in (log.folder / "p0").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / "hashes").write_bytes(bytes(len(log.hashes)))

    with EvidenceReader(tmp_path / "audit", 0) as reader, pytest.raises(ProofInvalid):
        prove(reader, 700, [log.key])
