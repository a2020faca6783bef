"""Secrets of Azure Key Vault, by Microsoft's client against a double of the vault's HTTP interface."""

from __future__ import annotations

import logging

import pytest
from support.key_vault import ACCESS_TOKEN, IDENTITY_HEADER, key_vault

pytest.importorskip("azure.keyvault.secrets")

from mas_core.errors import SecretUnavailable
from mas_core.settings import azure_vault
from mas_core.settings.secrets import resolve

VALUE = "v4ult-secret-value"


@pytest.fixture
def vault(tmp_path, monkeypatch):
    monkeypatch.setattr(azure_vault, "_FIRST_WAIT_S", 0.01)
    with key_vault(tmp_path) as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        running.secrets["redis"] = [("a1", "old"), ("b2", VALUE)]
        yield running


def get(vault, place, folder):
    return resolve(f"azkv://{vault.host}/{place}", folder).get_secret_value()


def test_a_secret_comes_from_the_vault(vault, tmp_path, caplog):
    """After its challenge, with a token for its own resource; the newest version or the one that is named."""
    caplog.set_level(logging.DEBUG)

    assert get(vault, "redis", tmp_path) == VALUE
    assert vault.requests == ["challenge", f"token for {vault.resource}", "/secrets/redis/"]
    assert get(vault, "redis/a1", tmp_path) == "old"
    assert vault.requests[-1] == "/secrets/redis/a1"
    assert not [word for word in (VALUE, ACCESS_TOKEN, IDENTITY_HEADER) if word in caplog.text]


def test_a_vault_that_is_busy_is_asked_again(vault, tmp_path):
    """After the time that it says; when it stays busy, that is told."""
    vault.refusals = [(429, {"Retry-After": "0"})]
    assert get(vault, "redis", tmp_path) == VALUE

    vault.refusals = [(429, {"Retry-After": "0"})] * 9
    with pytest.raises(SecretUnavailable, match="asked too often"):
        get(vault, "redis", tmp_path)


@pytest.mark.parametrize(
    ("place", "status", "reason", "command"),
    [
        ("nothing", None, "has no such secret", "az keyvault secret list"),
        ("redis", 403, "may not read", "az role assignment create"),
        ("redis", 400, "status 400", ""),
    ],
)
def test_a_refusal_is_said_in_our_words(vault, tmp_path, place, status, reason, command):
    """With what to type; the words of the vault are left out."""
    vault.refusals = [(status, {})] if status else []

    with pytest.raises(SecretUnavailable, match=reason) as caught:
        get(vault, place, tmp_path)

    assert f"azkv://{vault.host}/{place}" in caught.value.message
    assert "words of the vault" not in caught.value.message
    assert "".join(caught.value.hint).startswith(command)


def test_without_an_identity_it_is_said_how_to_get_one(vault, tmp_path, monkeypatch):
    """Azure does not know who we are."""
    monkeypatch.setenv("IDENTITY_HEADER", "another")

    with pytest.raises(SecretUnavailable, match="does not know who we are") as caught:
        get(vault, "redis", tmp_path)

    assert caught.value.hint == ("az login",)


def test_no_token_goes_to_a_host_that_asks_for_one_of_another_resource(vault, tmp_path):
    """A host that is no vault of its cloud gets no token for the vaults there."""
    vault.resource = "https://vault.azure.net"

    with pytest.raises(SecretUnavailable, match="does not behave like a vault"):
        get(vault, "redis", tmp_path)

    assert vault.requests == ["challenge"]


def test_a_vault_whose_certificate_nobody_vouches_for_gets_nothing(vault, tmp_path, monkeypatch):
    """Not even a request without a token."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")

    with pytest.raises(SecretUnavailable, match="does not answer"):
        get(vault, "redis", tmp_path)

    assert vault.requests == []
