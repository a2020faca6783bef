"""Whether the scan can do what a policy says, asked before the policy is stored."""

from __future__ import annotations

from collections.abc import Collection

from mas_core.model.policy import PolicyDocument
from mas_core.security.dlp.actions import check_actions
from mas_core.security.dlp.packs import RulePack, load_pack
from mas_core.security.dlp.rules import Rule
from mas_core.security.dlp.sealed_values import ValueSealer

__all__ = ["check_scan", "load_pack"]


def check_scan(document: PolicyDocument, pack: RulePack | None, detectors: Collection[str] = ()) -> None:
    """See that gateways can scan as a policy says.

    Args:
        document: The policy.
        pack: The rules of the gateways; None where they are not known, and names of rules cannot be checked.
        detectors: Names of the detectors that look beside them; the kinds of each are rules as well.

    Raises:
        ConfigurationError: An action is not known, is for a rule or category that does not exist, or names
            a key that is not there, or a key is none.
    """
    keys = ValueSealer(document.dlp_keys).names
    prefixes = tuple(f"{name}_" for name in detectors)
    for layer in (document.dlp_actions, *(route.dlp for route in document.routes)):
        told = [name for name in layer if pack is None or name.startswith(prefixes)]
        others = tuple(Rule(id=name, category="pii", pattern="", action="alert") for name in told)
        check_actions(layer, (*(pack.rules if pack else ()), *others), keys)
