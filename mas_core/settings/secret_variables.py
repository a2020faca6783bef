"""Variables that hold secrets of a project: what its agents run is not given those of others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mas_core.errors import SecretUnavailable
from mas_core.settings.private_files import read_private, token_path
from mas_core.settings.project_config import LoadedConfig

_VARIABLE: Final = re.compile(r"(?:^|\$\{)env:([A-Za-z_][A-Za-z0-9_]*)")
_MOST_BYTES: Final = 4096
"""References are short."""


def withheld_variables(loaded: LoadedConfig, tokens_dir: Path, agent_id: str) -> frozenset[str]:
    """Variables that settings, keys and tokens of a project refer to, but for those of the agent's own token.

    Args:
        loaded: The project's settings.
        tokens_dir: Where the tokens of its agents are.
        agent_id: Whose process is started.
    """
    settings = (item.value for item in loaded.settings(unmasked=True))
    files = [*loaded.project.keys_dir.iterdir(), *tokens_dir.iterdir()]
    texts = [*(value for value in settings if isinstance(value, str)), *_references(files)]
    own = _references([token_path(tokens_dir, agent_id)])
    return frozenset(_variables(texts)) - frozenset(_variables(own))


def _references(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        with suppress(SecretUnavailable, OSError):
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                yield read_private(path).decode(errors="replace").strip()


def _variables(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from _VARIABLE.findall(text)
