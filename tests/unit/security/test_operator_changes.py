"""Changes to the operators of a policy."""

from __future__ import annotations

import msgspec
import pytest

from mas_core.errors import Conflict, InvalidIdentifier, OperatorNotFound
from mas_core.model.operators import OperatorRecord
from mas_core.model.policy import PolicyDocument
from mas_core.security.operator_changes import operator_of, with_operator, with_role, without_operator
from mas_core.security.policy_versions import rolled_back

ANN = OperatorRecord("viewer", 1)


def test_operators_come_change_and_go():
    """Each change gives another document; what changes nothing gives the same."""
    document = with_operator(PolicyDocument(), "ann", ANN)

    assert operator_of(document, "ann") == ANN
    assert with_role(document, "ann", "viewer") is document
    assert operator_of(with_role(document, "ann", "auditor"), "ann").role == "auditor"
    assert without_operator(document, "ann").operators == {}
    with pytest.raises(Conflict):
        with_operator(document, "ann", ANN)
    with pytest.raises(InvalidIdentifier):
        with_operator(document, "Ann Ann", ANN)
    for change in (without_operator, lambda found, name: with_role(found, name, "viewer")):
        with pytest.raises(OperatorNotFound):
            change(document, "bob")


def test_s5_a_rollback_brings_no_operator_back():
    """Neither who was removed, nor the role from before."""
    earlier = with_operator(with_operator(PolicyDocument(), "ann", ANN), "bob", ANN)
    now = with_role(without_operator(earlier, "ann"), "bob", "auditor")

    assert rolled_back(now, earlier).operators == now.operators


def test_a_document_from_before_there_were_operators_is_read():
    """It has none, and with none nothing is asked of anybody."""
    old = msgspec.json.decode(msgspec.json.encode(PolicyDocument()))
    del old["operators"]

    assert msgspec.json.decode(msgspec.json.encode(old), type=PolicyDocument).operators == {}
