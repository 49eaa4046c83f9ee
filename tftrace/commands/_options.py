"""What `tftrace run` and `%%trace` can be told: one set of options for both."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from cyclopts import Parameter

from ..capture.forward_choice import Choice
from ._shared import Checks, Force, Level, Output, Patterns, Recipes, Switch, wanted_checks, wanted_values


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is recorded of a program, and where.

    Parameters
    ----------
    output
        Folder of the trace; without it run makes a name from the program's, and a cell's trace lives as long as its
        variable.
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
    """

    output: Output = None
    level: Level = "lines"
    model_class: str | None = None
    skip: int = 0
    every: int = 1
    max_forwards: int = 1000  # a training script may make millions
    when: str | None = None
    values: Patterns = None
    check: Checks = None
    recipes: Recipes = None
    backward: Switch = False
    force: Force = False

    def choice(self) -> Choice:
        """Which forwards are wanted. Raises TraceError for a mistake, as `recorder` does."""
        return Choice(self.model_class, self.skip, self.every, self.max_forwards, self.when)

    def recorder(self) -> dict[str, Any]:
        """The arguments of a Recorder."""
        return {
            "level": self.level,
            "overwrite": self.force,
            "meta": {},
            "values": wanted_values(self.values),
            "check": wanted_checks(self.check),
            "recipes": self.recipes,
            "backward": self.backward,
            "choice": self.choice(),
        }

    def words(self) -> list[str]:
        """All but the output as it is typed."""
        words: list[str] = []
        for name in (field.name for field in fields(self) if field.name != "output"):
            option, value = f"--{name.replace('_', '-')}", getattr(self, name)
            if value is True:
                words.append(option)
            elif value is not None and value is not False:
                every = value if isinstance(value, list) else [value]
                words += [word for one in every for word in (option, str(one))]
        return words
