"""`tftrace run`: any Python program, unchanged, with every model that it calls recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from .. import runner
from ..capture.choice import Choice
from ..errors import TraceError
from . import _shared
from ._launcher import launch, launches
from ._program import record_program
from ._shared import Checks, Force, Level, Output, Patterns, Recipes, Switch, check_words, wanted_checks, wanted_values

Words = Annotated[str, Parameter(allow_leading_hyphen=True)]
FLAGS = frozenset({"--force", "--backward", "--quiet", "--no-check", "--help", "-h"})  # options without a value
MOST = 1000  # forwards, if nothing is said: a training script may make millions


def run(
    *program: Words,
    output: Output = None,
    level: Level = "lines",
    model_class: str | None = None,
    skip: int = 0,
    every: int = 1,
    max_forwards: int = MOST,
    when: str | None = None,
    values: Patterns = None,
    check: Checks = None,
    recipes: Recipes = None,
    backward: Switch = False,
    force: Force = False,
    quiet: Switch = False,
) -> None:
    """Run a Python program and record the models that it calls.

    The program is a script (tftrace run train.py --lr 3e-5), a module (tftrace run -m package.module) or a command
    that is Python (tftrace run -- pytest tests). All options of tftrace stand before it. Each outermost call of a
    model is a forward of the trace.

    Parameters
    ----------
    program
        What is run, with its arguments.
    output
        Folder of the trace; without it a name made from the program's, in this folder.
    level
        modules, functions, lines or ops: how much is recorded, each with all before it.
    model_class
        Only models whose class, or one that it derives from, fits this pattern, such as 'Bert*'.
    skip
        Leave out the first forwards of each model.
    every
        Record only each n-th forward of a model.
    max_forwards
        Record no more forwards than this; the program runs on.
    when
        Keep only forwards with a step of which this is true, such as 'loss > 5', 'nan > 0' or 'logits.max > 30'.
    values
        Tensors to keep whole: auto (all but weights, up to 256 MB), all, none, or a pattern of the steps' names,
        which may be repeated. The default is auto.
    check
        Check the papers' equations on a few cells of each result: yes, all for every cell, or about how many cells;
        0 or --no-check: not at all. If nothing is said, they are checked at every level but modules.
    recipes
        A file or folder of equations of your own, which stand before ours; may be repeated.
    backward
        Record gradients too: of what each module returned, and of its parameters.
    force
        Replace an existing trace.
    quiet
        Say nothing of what was recorded.
    """
    if not program:
        raise TraceError("Name what to run: 'tftrace run train.py', '-m package.module', or '-- pytest tests'.")
    say = (lambda sentence: None) if quiet else _shared.say
    choice = Choice(model_class, skip, every, max_forwards, when)
    options: dict[str, Any] = {"level": level, "check": wanted_checks(check), "backward": backward}
    options |= {"values": wanted_values(values), "recipes": recipes}
    if program[0] == "--" and launches(program[1:]):
        said = options | {"check": check, "model_class": model_class, "skip": skip, "every": every}
        said |= {"max_forwards": max_forwards, "when": when, "force": force}
        launch(program[1:], output, force, _as_words(said), say)
    else:
        record_program(_program(program), output, options | {"overwrite": force}, choice, say)


def _as_words(options: dict[str, Any]) -> list[str]:
    """Options as they are typed."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif value is not None:
            words += [word for one in (value if isinstance(value, list) else [value]) for word in (option, str(one))]
    return words


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


def _program(words: Sequence[str]) -> runner.Program:
    first, *rest = words
    if first == "--" and rest:
        return runner.command(rest)
    if first == "-m" and rest:
        return runner.module(rest[0], rest[1:])
    if first in ("-m", "--"):
        raise TraceError(f"There is nothing after {first}: name what to run.")
    if first.startswith("-"):
        raise TraceError(f"There is no option {first}: options of tftrace stand before the program, its own after it.")
    return runner.script(first, rest)
