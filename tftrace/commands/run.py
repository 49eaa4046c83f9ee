"""`tftrace run`: any Python program, unchanged, with every model that it calls recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from .. import terminal
from ..errors import TraceError
from . import _runner
from ._launcher import launch, launches
from ._options import Options
from ._program import record_program
from ._shared import Switch, check_words

Words = Annotated[str, Parameter(allow_leading_hyphen=True)]
FLAGS = frozenset({"--force", "--backward", "--quiet", "--no-check", "--help", "-h"})  # options without a value


def run(*program: Words, options: Options | None = None, quiet: Switch = False) -> None:
    """Run a Python program and record the models that it calls.

    The program is a script (tftrace run train.py --lr 3e-5), a module (tftrace run -m package.module) or a command
    that is Python (tftrace run -- pytest tests). All options of tftrace stand before it. Each outermost call of a
    model is a forward of the trace.

    Parameters
    ----------
    program
        What is run, with its arguments.
    quiet
        Say nothing of what was recorded.
    """
    if not program:
        raise TraceError("Name what to run: 'tftrace run train.py', '-m package.module', or '-- pytest tests'.")
    options = options or Options()
    recorder = options.recorder()  # a mistake in them comes before everything
    say = (lambda sentence: None) if quiet else terminal.say
    if program[0] == "--" and launches(program[1:]):
        launch(program[1:], options, say)
    else:
        record_program(_program(program), options.output, recorder, say)


def own_words(words: Sequence[str]) -> list[str]:
    """The words after `tftrace run` with a `--` before the program: what follows its name is the program's own."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-m", "--"):
        valued = words[at] not in FLAGS and "=" not in words[at]
        if words[at] == "--check":  # which may have a value
            valued = len(check_words(words[at : at + 2])) == 1
        at += 2 if valued else 1
    own = check_words(words[:at])
    return [*own, "--", *words[at:]] if at < len(words) else own


def _program(words: Sequence[str]) -> _runner.Program:
    first, *rest = words
    if first == "--" and rest:
        return _runner.command(rest)
    if first == "-m" and rest:
        return _runner.module(rest[0], rest[1:])
    if first in ("-m", "--"):
        raise TraceError(f"There is nothing after {first}: name what to run.")
    if first.startswith("-"):
        raise TraceError(f"There is no option {first}: options of tftrace stand before the program, its own after it.")
    return _runner.script(first, rest)
