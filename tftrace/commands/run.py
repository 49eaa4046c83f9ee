"""`tftrace run` runs an unchanged Python program and records every model that it calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from .. import terminal
from ..errors import TraceError
from . import _runner
from ._launcher import is_launcher, launch
from ._options import Options
from ._program import record_program
from ._shared import Switch, expand_check

Words = Annotated[str, Parameter(allow_leading_hyphen=True)]
FLAGS = frozenset({"--force", "--backward", "--quiet", "--no-check", "--help", "-h"})  # options without a value


def run(*program: Words, options: Options | None = None, quiet: Switch = False) -> None:
    """Run a Python program and record the models that it calls.

    The program is a script (tftrace run train.py --lr 3e-5), a module (tftrace run -m package.module) or a command
    written in Python (tftrace run -- pytest tests). Options of tftrace go before it. Each outermost call of a model is
    a forward pass of the trace.

    Parameters
    ----------
    program
        The program and its arguments.
    quiet
        Do not report what was recorded.
    """
    if not program:
        raise TraceError("Name what to run: 'tftrace run train.py', '-m package.module', or '-- pytest tests'.")
    options = options or Options()
    recorder = options.recorder()  # mistakes in options come first
    say = (lambda sentence: None) if quiet else terminal.say
    if program[0] == "--" and is_launcher(program[1:]):
        launch(program[1:], options, say)
    else:
        record_program(_program(program), options.output, recorder, say)


def separate_program(words: Sequence[str]) -> list[str]:
    """Insert `--` before the program in the words after `tftrace run`, so that the program's options stay its own."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-m", "--"):
        valued = words[at] not in FLAGS and "=" not in words[at]
        if words[at] == "--check":  # its value is optional
            valued = len(expand_check(words[at : at + 2])) == 1
        at += 2 if valued else 1
    own = expand_check(words[:at])
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
        raise TraceError(f"There is no option {first}: options of tftrace go before the program, its own after it.")
    return _runner.script(first, rest)
