"""`tftrace record`: a forward pass of whatever the user names."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

from ..capture.process import launched
from ..errors import TraceError
from ..models.request import GenerationOptions, InputOptions, ModelOptions, Request
from ..terminal import say
from ._recording import record_request
from ._shared import Checks, Force, Level, Output, Patterns, Recipes, free_name, wanted_checks, wanted_values

_MODEL, _INPUT, _GENERATION = ModelOptions(), InputOptions(), GenerationOptions()

Layers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


def record(
    source: str | None = None,
    *,
    output: Output = None,
    level: Level = "lines",
    include: Patterns = None,
    exclude: Patterns = None,
    layers: Layers = None,
    values: Patterns = None,
    check: Checks = None,
    recipes: Recipes = None,
    force: Force = False,
    model: ModelOptions = _MODEL,
    given: InputOptions = _INPUT,
    generation: GenerationOptions = _GENERATION,
) -> None:
    """Record a forward pass of a model.

    Parameters
    ----------
    source
        A hub id, a local folder, or demo:bert, demo:gpt2, demo:transformer.
    output
        Folder of the trace; without it a name made from the source, in this folder.
    level
        modules, functions, lines or ops: how much is recorded, each with all before it.
    include
        Only modules whose path fits this pattern, such as 'encoder.*', and all below them; may be repeated.
    exclude
        Not the modules whose path fits this pattern, nor what is below them; may be repeated.
    layers
        Only these layers, such as 0,2,-1 or 0-3.
    values
        Tensors to keep whole: auto (all but weights, up to 256 MB), all, none, or a pattern of the steps' names,
        which may be repeated. The default is auto.
    check
        Check the papers' equations on a few cells of each result: yes, all for every cell, or about how many cells;
        0 or --no-check: not at all. If nothing is said, they are checked at every level but modules.
    recipes
        Equations of your own, a file or a folder of them: they stand before those that come with tftrace.
    force
        Replace an existing trace.
    """
    if (source is None) == (model.config is None):
        both = "SOURCE and --config both name a model: leave one of them out."
        raise TraceError(both if source else "Name a model: a hub id, a local folder, or demo:bert.")
    name = source or str(model.config)
    request = Request(source=name, model=model, input=given, generation=generation)
    options: dict[str, Any] = {"level": level, "include": include, "exclude": exclude}
    options["check"] = wanted_checks(check)
    options |= {
        "recipes": recipes,
        "layers": None if layers is None else _layers(layers),
        "values": wanted_values(values or ["auto"]),
    }
    together = launched().world > 1  # the same name in each process
    output = output or free_name(name.removesuffix(".json"), force or together)
    record_request(request, output, force, options)
    say(f"Next: 'tftrace view {output}' steps through it, 'tftrace export {output} run.csv' gives the numbers.")


def _layers(said: str) -> list[int]:
    """The numbers in `0,2,-1` or `0-3`."""
    found: list[int] = []
    for part in said.split(","):
        numbers = re.fullmatch(r"\s*(-?\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if last < first or (numbers and numbers[2] and first < 0):
            raise TraceError(f"There are no layers {said!r}: name them as 0,2,-1 or 0-3.")
        found += range(first, last + 1)
    return found
