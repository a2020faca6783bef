"""A slice of `make fuzz`: no bytes get more out of a parser than the errors that it promises."""

import random

import pytest
from fuzz import parsers as sources
from fuzz.mutations import mutated
from fuzz.run import by_mutation
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mas_core.security.dlp import load_pack
from mas_core.settings.agent_spec import read_specs
from mas_core.settings.policy_file import load_policy_file

PARSERS = sources.parsers()
each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name.replace(" ", "-"))
relaxed = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@each_parser
@relaxed
@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"\xa1\xff")
@example(data=b"[" * 5000)
@example(data=b"\x91" * 5000)
def test_any_bytes(parser, data):
    """However they look."""
    parser.run(data)


@each_parser
@relaxed
@given(seed=st.integers(0, 2**32))
def test_texts_that_are_nearly_right(parser, seed):
    """Seeds that were changed in a few places reach further."""
    rnd = random.Random(seed)
    for _ in range(5):
        parser.run(mutated(rnd, parser.seeds))


def test_the_seeds_are_what_the_parsers_take(tmp_path):
    """A seed that is refused at once would lead nowhere."""
    for text in sources.SPEC_SEEDS:
        (tmp_path / "a.yaml").write_bytes(text)
        assert read_specs([tmp_path / "a.yaml"])
    for text in sources.POLICY_SEEDS:
        (tmp_path / "p.yaml").write_bytes(text)
        assert load_policy_file(tmp_path / "p.yaml").rules
    for text in sources.PACK_SEEDS:
        (tmp_path / "d.yaml").write_bytes(text)
        assert load_pack(tmp_path / "d.yaml").rules


def test_a_crash_is_counted_and_kept(tmp_path, monkeypatch):
    """The run tells of what it finds, and leaves it behind."""

    def broken(data):
        raise ZeroDivisionError

    monkeypatch.setattr(sources, "parsers", lambda: [sources.Parser("broken", broken, [b"a"])])

    runs, crashes = by_mutation("broken", 0.05, tmp_path, seed=1)

    assert runs == crashes > 0
    assert (tmp_path / "broken-1.bin").is_file()
