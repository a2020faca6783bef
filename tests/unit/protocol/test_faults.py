"""Errors on their way through the protocol."""

import pytest

from mas_core import errors
from mas_core.errors import CircuitOpen, MasError, SpecInvalid, StoreUnreachable
from mas_core.protocol.faults import error_of, fault_of
from mas_core.protocol.frames_pb2 import Error


@pytest.mark.parametrize(
    "error",
    [
        StoreUnreachable("gone", hint=("mas status", "mas up"), url="redis://host"),
        CircuitOpen("open", target="bob", retry_after=2.5),
        SpecInvalid("wrong", path="a.yaml", line=3),
        MasError("plain"),
    ],
)
def test_an_error_arrives_as_what_it_was(error):
    """Class, text, hints and facts are the same on the other side."""
    arrived = error_of(Error.FromString(fault_of(error).SerializeToString()))
    assert type(arrived) is type(error)
    assert (arrived.message, arrived.hint, arrived.details) == (error.message, error.hint, error.details)


def test_every_error_of_ours_has_a_code_of_its_own():
    """Otherwise one would arrive as another."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MasError)]
    codes = [kind.code for kind in kinds]
    assert sorted(codes) == sorted(set(codes))
    assert all(type(error_of(Error(code=kind.code, message="x"))) is kind for kind in kinds)


@pytest.mark.parametrize("details", ["[]", '"text"', "{}", ""])
def test_a_code_that_is_not_known_is_an_error_all_the_same(details):
    """A newer server may know more codes."""
    arrived = error_of(Error(code="from_tomorrow", message="no", details=details))
    assert type(arrived) is MasError
    assert arrived.details == {}
