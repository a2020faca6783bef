"""The `mas` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Answer a completion request at once, or run a command; returns the exit code."""
    try:
        from mas_cli.output.closed_streams import fill_closed_streams

        fill_closed_streams()
        if sys.argv[1:2] == ["__complete"]:
            from mas_cli.completion.fast_path import main as complete

            return complete(sys.argv[2:])
        from mas_cli.app import main as run

        return run()
    except KeyboardInterrupt:
        # Ctrl-C while modules are being imported
        return 130


if __name__ == "__main__":
    sys.exit(main())
