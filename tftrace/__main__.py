"""`python -m tftrace` and the `tftrace` command."""

from __future__ import annotations

import sys

from .cli import main


def run() -> None:
    """Entry point of the command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
