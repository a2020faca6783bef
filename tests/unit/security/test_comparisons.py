"""S8: nothing that is secret is compared in a way whose time tells something."""

import ast
import inspect
import re
from pathlib import Path

import mas_core
from mas_core.security import tokens
from mas_core.security.gateway_keys import GatewayKeys

PACKAGE = Path(mas_core.__file__).parent
SECRET = re.compile(r"(^|_)(token|secret|mac|hmac|password|private_key|salt|check)$")


def _name(node):
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Call(func=function):
            return _name(function)
        case ast.Subscript(value=value):
            return _name(value)
    return ""


def _compared_by_eye():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(
                isinstance(item, ast.Eq | ast.NotEq) for item in node.ops
            ):
                sides = [node.left, *node.comparators]
                constant = any(isinstance(side, ast.Constant) for side in sides)
                if not constant and any(SECRET.search(_name(side)) for side in sides):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_s8_no_secret_is_compared_with_equals():
    """Tokens, MACs and secrets are compared by `compare_digest`, if at all."""
    assert [*_compared_by_eye()] == []


def test_s8_macs_and_checksums_are_compared_in_constant_time():
    """On bytes, which also take what is no ASCII."""
    assert "compare_digest" in inspect.getsource(GatewayKeys.check_mac)
    assert "compare_digest" in inspect.getsource(tokens._body)
    keys = GatewayKeys.generate()
    mac = keys.mac("p", "ü".encode())

    assert keys.check_mac("p", "ü".encode(), mac)
    assert not keys.check_mac("p", "ü".encode(), b"\xff" * 32)
    assert not keys.check_mac("p", "ü".encode(), b"")


def test_s8_a_gateway_never_sees_a_token():
    """It looks up a public key by its id; no module of gateway, registry or store derives keys from a token."""
    for folder in ("gateway", "registry", "store"):
        for path in (PACKAGE / folder).glob("**/*.py"):
            names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
            if path.name == "in_process.py":
                # It makes the tokens of agents in its own process, and compares none.
                continue
            assert not names & {"derive_keys", "new_token", "read_token", "compare_digest"}, path
