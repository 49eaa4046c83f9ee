"""The options that `tftrace run` and `%%trace` share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from cyclopts import Parameter

from ..capture.forward_choice import Choice
from ._shared import Checks, Force, Level, Output, Patterns, Recipes, Switch, parse_check, parse_values


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to record of a program, and where.

    Parameters
    ----------
    output
        Folder of the trace. By default `tftrace run` names it after the program, and a cell uses a temporary folder.
    level
        How much to record: modules, functions, lines or ops; each includes those before it.
    model_class
        Record only models whose class, or a base class of it, matches this pattern, such as 'Bert*'.
    skip
        Skip this many forward passes of each model before recording.
    every
        Record only every n-th forward pass of each model.
    max_forwards
        Record at most this many forward passes; the program runs on.
    when
        Keep only forward passes with at least one step for which this holds, such as 'loss > 5', 'nan > 0' or
        'logits.max > 30'.
    values
        Tensors to keep as a whole: screen (what the debugger draws, of the first forward passes, up to 32 MB; the
        default), auto (all but weights, up to 256 MB), all, none, or a pattern of step names. May be repeated.
    check
        Check the papers' equations: yes (a few cells of each result), all (every cell), or about how many cells; 0 or
        --no-check for none. By default yes at every level except modules.
    recipes
        File or folder of your own equations, which take precedence over ours; may be repeated.
    backward
        Also record gradients, of each module's outputs and parameters.
    pause
        Stop in the debugger (pdb) at each step that this breakpoint fits, such as '*.attention when max > 1e3' or
        'nan > 0'.
    force
        Replace an existing trace.
    """

    output: Output = None
    level: Level = "lines"
    model_class: str | None = None
    skip: int = 0
    every: int = 1
    max_forwards: int = 1000  # a training script may run millions
    when: str | None = None
    values: Patterns = None
    check: Checks = None
    recipes: Recipes = None
    backward: Switch = False
    pause: str | None = None
    force: Force = False

    def choice(self) -> Choice:
        """Which forward passes to record; raises TraceError for an invalid option."""
        return Choice(self.model_class, self.skip, self.every, self.max_forwards, self.when)

    def recorder(self) -> dict[str, Any]:
        """The arguments for a Recorder; raises TraceError for an invalid option."""
        return {
            "level": self.level,
            "overwrite": self.force,
            "meta": {},
            "values": parse_values(self.values or ["screen"]),
            "check": parse_check(self.check),
            "recipes": self.recipes,
            "backward": self.backward,
            "pause": self.pause,
            "choice": self.choice(),
        }

    def to_words(self) -> list[str]:
        """The options as words of a command line, except for the output."""
        words: list[str] = []
        for name in (field.name for field in fields(self) if field.name != "output"):
            option, value = f"--{name.replace('_', '-')}", getattr(self, name)
            if value is True:
                words.append(option)
            elif value is not None and value is not False:
                every = value if isinstance(value, list) else [value]
                words += [word for one in every for word in (option, str(one))]
        return words
