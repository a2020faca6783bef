"""Where health may be served."""

import pytest

from mas_core.errors import SpecInvalid
from mas_core.settings.health_settings import Address, read_address
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", Address("127.0.0.1", 9464)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:9464", Address("::1", 9464)),
        ("127.9.9.9:1", Address("127.9.9.9", 1)),
    ],
)
def test_addresses_of_this_machine(text, address):
    """A port alone is one of loopback."""
    assert read_address(text) == address
    assert read_address(str(address)) == address


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "db.example:9464"])
def test_others_only_on_demand(text):
    """Whoever asks needs no password, so other machines are let in by nobody's mistake."""
    with pytest.raises(ValueError, match="allow_remote: true"):
        read_address(text)
    assert read_address(text, allow_remote=True).port == 9464


@pytest.mark.parametrize("text", ["", ":1", "99999", "a b:1", "1:2:3", "-1", "9464\n", "http://x:1"])
def test_what_is_no_address(text):
    """Said so, with what to write."""
    with pytest.raises(ValueError, match="write a port such as 9464"):
        read_address(text)


def test_mas_yaml_names_the_line(tmp_path):
    """The file's line and the way out are in the error."""
    (tmp_path / "mas.yaml").write_text("name: x\nhealth:\n  gateway: 0.0.0.0:9464\n")

    with pytest.raises(SpecInvalid, match="reached from other machines") as caught:
        load_config(project_at(tmp_path))
    assert ":2: " in caught.value.message
    (tmp_path / "mas.yaml").write_text("name: x\nhealth: {gateway: 9464, runner: '[::1]:9465'}\n")
    health = load_config(project_at(tmp_path)).config.health
    assert health.address_of(health.runner) == Address("::1", 9465)
