"""The `mas` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Answer a completion request at once, or run a command; returns the exit code."""
    if sys.argv[1:2] == ["__complete"]:
        from mas_cli.completion.fast_path import main as complete

        return complete(sys.argv[2:])
    from mas_cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
