"""Options and helper functions that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import TraceError
from ..language import spoken
from ..navigate.breakpoints import Breakpoint
from ..terminal import on_screen
from ..text import visible
from ..trace.trace import Trace

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Texts = Annotated[list[str] | None, Parameter(name="--text", consume_multiple=False, negative=())]
Level = Literal["modules", "functions", "lines", "ops"]
Patterns = Annotated[list[str] | None, Parameter(consume_multiple=False, negative=())]
Recipes = Annotated[list[Path] | None, Parameter(consume_multiple=False, negative=())]
Checks = Annotated[str | None, Parameter(name="--check")]
Force = Annotated[bool, Parameter(name="--force", negative=())]
Switch = Annotated[bool, Parameter(negative=())]

_CHECKS = re.compile(r"yes|no|all|[0-9]{1,9}", re.ASCII)


def free_name(source: str, force: bool = False) -> Path:
    """The folder `bert.tftrace` for demo:bert or a folder bert; numbered if it exists, unless `force`."""
    stem = visible(source.rstrip("/").replace(":", "/").rsplit("/", 1)[-1]) or "run"
    names = (Path(f"{stem}{'' if n == 1 else f'-{n}'}.tftrace") for n in range(1, 10_000))
    return next(name for name in names if force or not os.path.lexists(name))


def parse_values(said: list[str]) -> str | list[str]:
    """Parse `--values`: one of the words screen, auto, all, none, or patterns."""
    words = [word for word in said if word in ("screen", "auto", "all", "none")]
    if words and len(said) > 1:
        raise TraceError(f"--values {words[0]} cannot be combined: leave it out to name patterns.")
    return words[0] if words else said


def expand_check(arguments: Sequence[str]) -> list[str]:
    """Give `--check` a value on a command line: a plain --check means yes, --no-check means no."""
    words: list[str] = []
    for at, word in enumerate(arguments):
        if words and words[-1] == "--check" and at:
            words[-1] = f"--check={word}" if _CHECKS.fullmatch(word) else "--check=yes"
            if _CHECKS.fullmatch(word):
                continue
        words.append("--check=no" if word == "--no-check" else word)
    return [*words[:-1], "--check=yes"] if words[-1:] == ["--check"] else words


def parse_check(said: str | None) -> bool | int | str | None:
    """Parse `--check`: yes, no, all, or about how many cells of each result."""
    words: dict[str | None, bool | str | None] = {None: None, "yes": True, "no": False, "all": "all"}
    if said in words:
        return words[said]
    if said is None or not re.fullmatch(r"[0-9]{1,9}", said):
        raise TraceError(f"There is no --check {said}: choose yes, no, all, or about how many cells.")
    return int(said)


def show_trace(trace: Trace, **options: Any) -> None:
    """Show a trace in the debugger, with the options of its app; without a screen, print the same content as text."""
    if on_screen():
        from ..tui.app import run
        from ..tui.pair.pairapp import run_pair

        run(trace, spoken(), run_pair, **options)
    else:
        from ..show import show as print_steps

        print_steps(trace)


def show_pair(left: Path, right: Path, breakpoints: Sequence[Breakpoint] = ()) -> None:
    """Show two runs side by side in the debugger; without a screen, print their comparison as text."""
    from ..answers.run_sides import side_of
    from ..compare import compare_runs
    from ..describe import answers
    from ._comparison_text import print_comparison

    sides, names = (side_of(left), side_of(right)), (str(left), str(right))
    if on_screen():
        from ..tui.pair.pairapp import run_pair

        run_pair(*sides, names, spoken(), breakpoints)
    else:
        print_comparison(compare_runs(*sides), names, answers(sides[0].trace, sides[1].trace))
