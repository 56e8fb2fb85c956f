"""The command ``p2praft`` (extra ``cli``)."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; says what to install if the extra is missing."""
    try:
        try:
            import click  # noqa: F401
            import rich  # noqa: F401
        except ImportError as error:
            print(f"error: the command needs {error.name!r}: pip install 'p2praft[cli]'", file=sys.stderr)
            sys.exit(1)
        from p2praft.cli.app import run

        run()
    except KeyboardInterrupt:  # before the command listens for it
        sys.exit(130)
