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
from ._shared import Force, Level, Output, Patterns, Switch, wanted_values

Words = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]
FLAGS = frozenset(
    {"--force", "--backward", "--quiet", "--check", "--no-check", "--help", "-h"}
)  # options without a value
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
    check: bool | None = None,
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
        Check the papers' equations; if neither is said, at every level but modules.
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
    options: dict[str, Any] = {"level": level, "check": check, "backward": backward, "values": wanted_values(values)}
    if program[0] == "--" and launches(program[1:]):
        chosen: dict[str, Any] = {
            "model_class": model_class,
            "skip": skip,
            "every": every,
            "max_forwards": max_forwards,
        }
        chosen["when"] = when
        launch(program[1:], output, force, _as_words({**options, **chosen, "force": force}), say)
    else:
        record_program(_program(program), output, options | {"overwrite": force}, choice, say)


def _as_words(options: dict[str, Any]) -> list[str]:
    """Options as they are typed."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else ["--no-check"] if name == "check" else []
        elif value is not None:
            words += [word for one in (value if isinstance(value, list) else [value]) for word in (option, str(one))]
    return words


def own_words(words: Sequence[str]) -> list[str]:
    """The words after `tftrace run` with a `--` before the program: what follows its name is the program's own."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-m", "--"):
        at += 1 if words[at] in FLAGS or "=" in words[at] else 2
    return [*words[:at], "--", *words[at:]] if at < len(words) else list(words)


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
