"""Options that several commands have, and the ways in which they speak."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..text import visible
from ..trace import Trace

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Texts = Annotated[list[str] | None, Parameter(name="--text", consume_multiple=False, negative=())]
Level = Literal["modules", "functions", "lines", "ops"]
Patterns = Annotated[list[str] | None, Parameter(consume_multiple=False, negative=())]
Force = Annotated[bool, Parameter(name="--force", negative=())]
Switch = Annotated[bool, Parameter(negative=())]


def say(sentence: str) -> None:
    """Tell the user, beside what the command prints."""
    print(visible(sentence), file=sys.stderr)


def present(trace: Trace) -> None:
    """The debugger where there is a terminal, else the same content as text."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from ..tui.app import run

        run(trace)
    else:
        from ..show import show as print_steps

        print_steps(trace)
