"""Seeded mutations of a signed log: each is found, called by its name, and located.

`make tamper` runs 10,000 of them over 100,000 records; this is a slice, over a smaller log, each verified from
the first record on.
"""

from __future__ import annotations

import random

import pytest
from support.tampering import FAR, MUTATIONS, Spoiler, build_log, missed, run_slice

from mas_core.audit.folder_verify import verify_folder
from mas_core.audit.trusted_keys import trusted_keys

SEED = 20261121


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return build_log(tmp_path_factory.mktemp("evidence") / "audit", 3000, 512)


def test_an_untouched_log_holds(log):
    """Every record, hash and checkpoint; nothing is in doubt."""
    found = verify_folder(log.folder, 0, trusted_keys(log.folder, [log.key]), outside=[log.notes[-1]])

    assert (found.ok, found.records, found.verified_to, found.covered) == (True, 3000, 3000, 3000)
    assert (found.first_bad, found.problem, found.notes) == (None, "", ())
    assert found.checkpoints == len(log.notes)


def test_s30_seeded_mutations_are_found_and_named(log):
    """250 of 250, the first bad record exact for edits, deletes and inserts."""
    found, problems, wholes = run_slice(log, SEED, range(250))

    assert problems == []
    assert (found.total(), wholes) == (250, 250)


def test_s30_mutations_are_found_from_a_verified_state_on(log):
    """The same verdicts when verification goes on from where an earlier one ended."""
    found, problems, _ = run_slice(log, SEED + 1, range(50), far=FAR)

    assert (found.total(), problems) == (50, [])


@pytest.mark.parametrize("name", MUTATIONS)
def test_s30_every_kind_of_tampering_is_found(log, tmp_path, name):
    """Each way to spoil a log, a few times."""
    for number in range(3):
        mutation = Spoiler(log, random.Random(f"{name}:{number}"), tmp_path / "spoilt").spoil(name)
        keys = trusted_keys(tmp_path / "spoilt", [log.key])
        verdict = verify_folder(tmp_path / "spoilt", 0, keys, outside=mutation.outside)

        assert missed(mutation, verdict) == "", verdict
