"""Entry point of `python -m tftrace` and of the `tftrace` command."""

from __future__ import annotations

import sys

from .cli import main


def run() -> None:
    """Run the command line and exit with its code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
