"""Changes to the operators of a policy; each takes a document and returns another, or itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.base.ids import check_agent_id
from mas_core.errors import Conflict, OperatorNotFound
from mas_core.model.operators import OperatorRecord, Role
from mas_core.model.policy import PolicyDocument


def operator_of(document: PolicyDocument | None, name: str) -> OperatorRecord:
    """One operator.

    Raises:
        OperatorNotFound: There is none of this name.
    """
    found = document.operators.get(name) if document is not None else None
    if found is None:
        raise OperatorNotFound(
            f"there is no operator {name!r}",
            hint=("mas operator list", f"mas operator add {name} --role viewer"),
        )
    return found


def with_operator(document: PolicyDocument, name: str, record: OperatorRecord) -> PolicyDocument:
    """The document with one more operator.

    Raises:
        Conflict: There is one of this name.
        InvalidIdentifier: Nobody can have this name.
    """
    check_agent_id(name)
    if name in document.operators:
        raise Conflict(f"there is an operator {name} already", hint=f"mas operator token rotate {name}")
    return _changed(document, name, record, f"operator {name}: {record.role}")


def without_operator(document: PolicyDocument, name: str) -> PolicyDocument:
    """The document without an operator.

    Raises:
        OperatorNotFound: There is none of this name.
    """
    operator_of(document, name)
    return _changed(document, name, None, f"{name} is no longer an operator")


def with_role(document: PolicyDocument, name: str, role: Role) -> PolicyDocument:
    """The document in which an operator has another role.

    Raises:
        OperatorNotFound: There is none of this name.
    """
    before = operator_of(document, name)
    if before.role == role:
        return document
    after = msgspec.structs.replace(before, role=role)
    return _changed(document, name, after, f"operator {name}: {role} instead of {before.role}")


def with_proof(
    document: PolicyDocument, name: str, proof: Callable[[OperatorRecord], OperatorRecord]
) -> PolicyDocument:
    """The document in which an operator proves itself in another way, and no longer in the one before.

    Args:
        document: The policy so far.
        name: The operator.
        proof: Puts what proves it into its record.

    Raises:
        OperatorNotFound: There is none of this name.
    """
    return _changed(document, name, proof(operator_of(document, name)), f"operator {name}: another proof")


def _changed(
    document: PolicyDocument, name: str, record: OperatorRecord | None, words: str
) -> PolicyDocument:
    operators = {other: kept for other, kept in document.operators.items() if other != name}
    if record is not None:
        operators[name] = record
    return msgspec.structs.replace(document, operators=dict(sorted(operators.items())), change=words)
