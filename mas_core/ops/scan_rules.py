"""Policies that gateways could not scan by are found out before they are in force."""

from __future__ import annotations

from collections.abc import Callable

from mas_core.errors import ConfigurationError, SpecInvalid
from mas_core.model.policy import PolicyDocument
from mas_core.settings.agent_spec import problems_in
from mas_core.settings.policy_file import FilePolicy
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig, load_config
from mas_core.settings.yaml_documents import Problem, read_yaml


def scan_check(project: Project | None) -> Callable[[PolicyDocument, PolicyDocument], None]:
    """What keeps changes out of the policy that gateways could not scan by.

    Without a project their rules are not known, and a rule that does not exist is not found out.

    Args:
        project: Whose settings name the rules of the scan.

    Returns:
        A function of the policy before and after a change; raises ConfigurationError.
    """

    def check(before: PolicyDocument, after: PolicyDocument) -> None:
        if after.features.dlp is before.features.dlp and _said(after) == _said(before):
            return
        from mas_core.security.dlp.policy_check import check_scan, load_pack  # noqa: PLC0415 - slow

        if project is None:
            check_scan(after, None)
        else:
            settings = load_config(project).config.gateway.dlp
            check_scan(after, load_pack(settings.pack), settings.detectors)

    return check


def scan_problems(loaded: LoadedConfig, policy: FilePolicy) -> list[Problem]:
    """What is wrong with what the files of a project say about the scan, as gateways would find."""
    from mas_core.security.dlp.policy_check import check_scan, load_pack  # noqa: PLC0415 - slow

    document = PolicyDocument(
        dlp_actions=policy.dlp_actions, dlp_keys=policy.dlp_keys, routes=tuple(policy.routes)
    )
    settings = loaded.config.gateway.dlp
    try:
        check_scan(document, load_pack(settings.pack), settings.detectors)
    except SpecInvalid as error:
        return problems_in(error)
    except ConfigurationError as error:
        path, line = str(loaded.policy_path), 0
        if loaded.policy_path.exists():
            line = read_yaml(loaded.policy_path).line("dlp", str(error.details.get("rule", "")))
        return [Problem(path, line, error.message, error.hint[0] if error.hint else "")]
    return []


def _said(document: PolicyDocument) -> object:
    return document.dlp_actions, document.dlp_keys, [route.dlp for route in document.routes]
