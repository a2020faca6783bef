"""Secrets of Azure Key Vault, by Microsoft's own client; who we are is found as `DefaultAzureCredential` does.

That is, in this order: variables of a service principal, a workload identity, a managed identity, `az login`.
A vault gets a token for itself only: the client refuses one whose challenge names another resource.
"""

from __future__ import annotations

import re
from typing import Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from mas_core.errors import SecretUnavailable

_VAULT: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+\.[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_PLACE: Final = re.compile(r"//([^/]+)/([A-Za-z0-9-]{1,127})(?:/([A-Za-z0-9]{1,64}))?")
_CONNECT_S: Final = 5
_READ_S: Final = 10
_RETRIES: Final = 3
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 10


def from_azure(place: str) -> str:
    """The secret at `//VAULT/NAME[/VERSION]`; VAULT is a name, or a host of another Azure cloud.

    Raises:
        SecretUnavailable: It cannot be had.
    """
    found = _PLACE.fullmatch(place)
    host = _host(found[1]) if found else ""
    if found is None or not host:
        raise SecretUnavailable("it names no secret of a vault", hint="azkv://VAULT/NAME")
    try:
        with (
            DefaultAzureCredential(exclude_interactive_browser_credential=True) as credential,
            SecretClient(
                f"https://{host}",
                credential,
                connection_timeout=_CONNECT_S,
                read_timeout=_READ_S,
                retry_total=_RETRIES,
                retry_backoff_factor=_FIRST_WAIT_S,
                retry_backoff_max=_LONGEST_WAIT_S,
            ) as vault,
        ):
            value = vault.get_secret(found[2], found[3]).value
    except (AzureError, ValueError) as error:
        raise _meaning(error, host, found[2]) from None
    if value is None:
        raise SecretUnavailable("the vault holds no value for it")
    return value


def _host(vault: str) -> str:
    if _VAULT.fullmatch(vault):
        return f"{vault}.vault.azure.net"
    return vault if _HOST.fullmatch(vault) else ""


def _meaning(error: Exception, host: str, name: str) -> SecretUnavailable:
    """What went wrong, in our words: theirs may say more than a log should hold."""
    vault = host.partition(".")[0]
    code = error.status_code if isinstance(error, HttpResponseError) else None
    if isinstance(error, ClientAuthenticationError):
        return SecretUnavailable("Azure does not know who we are", hint="az login")
    if code == 403:
        return SecretUnavailable(
            f"we may not read secrets of {host}",
            hint="az role assignment create --role 'Key Vault Secrets User' --assignee WHO --scope VAULT",
        )
    if code == 404:
        return SecretUnavailable(
            f"{host} has no such secret", hint=f"az keyvault secret list --vault-name {vault}"
        )
    if code == 429:
        return SecretUnavailable(f"{host} is asked too often", hint="do it again later")
    if code is not None:
        return SecretUnavailable(f"{host} answered with status {code}")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return SecretUnavailable(
            f"{host} does not answer", hint=f"az keyvault secret show --vault-name {vault} --name {name}"
        )
    return SecretUnavailable(f"{host} does not behave like a vault: {type(error).__name__}")
