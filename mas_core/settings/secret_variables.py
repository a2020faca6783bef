"""Variables that hold secrets of a project: what its agents run is not given those of others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mas_core.errors import SecretUnavailable
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.private_files import read_private
from mas_core.settings.project_config import LoadedConfig

_VARIABLE: Final = re.compile(r"(?:^|\$\{)env:([A-Za-z_][A-Za-z0-9_]*)")
_MOST_BYTES: Final = 4096
"""References are short."""


class SecretVariables:
    """Variables that settings, keys, tokens and specs of a project refer to.

    Args:
        loaded: The project's settings.
        tokens_dir: Where the tokens of its agents are.
    """

    def __init__(self, loaded: LoadedConfig, tokens_dir: Path) -> None:
        values = (item.value for item in loaded.settings(unmasked=True))
        self._of_settings = _variables(value for value in values if isinstance(value, str))
        self._keys_dir, self._tokens_dir = loaded.project.keys_dir, tokens_dir
        self._of_keys: frozenset[str] = frozenset()
        self._of_tokens: dict[str, frozenset[str]] = {}
        self._stamp = (0, 0)

    def withheld_from(self, agent_id: str, specs: Iterable[AgentSpec]) -> frozenset[str]:
        """What the processes of an agent do not get: all but what its own token and its own spec refer to."""
        self._look()
        own: frozenset[str] = self._of_tokens.get(agent_id, frozenset())
        others = self._of_settings.union(self._of_keys, *self._of_tokens.values())
        for spec in specs:
            if spec.secrets:
                found = _variables(spec.secrets.values())
                own, others = (own | found, others) if spec.agent_id == agent_id else (own, others | found)
        return others - own

    def _look(self) -> None:
        """Read the files again when some were written: these are replaced, which changes their folder."""
        stamp = (_changed(self._keys_dir), _changed(self._tokens_dir))
        if stamp != self._stamp:
            self._of_keys = frozenset().union(*map(_variables_in, self._keys_dir.glob("*")))
            found = {path.stem: _variables_in(path) for path in self._tokens_dir.glob("*.token")}
            self._of_tokens = {agent_id: names for agent_id, names in found.items() if names}
            self._stamp = stamp


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _variables_in(path: Path) -> frozenset[str]:
    with suppress(SecretUnavailable, OSError):
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            return _variables([read_private(path).decode(errors="replace").strip()])
    return frozenset()


def _variables(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(name for text in texts for name in _VARIABLE.findall(text))
