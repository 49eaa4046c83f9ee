"""`tftrace record` loads a model and records a forward pass or a generation."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

from ..capture.process import launched
from ..errors import TraceError
from ..language import tr
from ..models.request import GenerationOptions, InputOptions, ModelOptions, Request
from ..terminal import say
from ._recording import record_request
from ._shared import Checks, Force, Level, Output, Patterns, Recipes, free_name, parse_check, parse_values

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
    engine: str | None = None,
    force: Force = False,
    model: ModelOptions = _MODEL,
    given: InputOptions = _INPUT,
    generation: GenerationOptions = _GENERATION,
) -> None:
    """Load a model and record a forward pass, or a generation.

    Parameters
    ----------
    source
        A hub id, a local folder, or demo:bert, demo:gpt2, demo:transformer.
    output
        Folder of the trace; by default named after the source, in the current folder.
    level
        How much to record: modules, functions, lines or ops; each includes those before it.
    include
        Record only modules whose path matches this pattern, such as 'encoder.*', and what is below them. May be
        repeated.
    exclude
        Leave out modules whose path matches this pattern, and what is below them. May be repeated.
    layers
        Record only these layers, such as 0,2,-1 or 0-3.
    values
        Tensors to keep as a whole: auto (all but weights, up to 256 MB; the default), screen (only what the debugger
        draws, up to 32 MB), all, none, or a pattern of step names. May be repeated.
    check
        Check the papers' equations: yes (a few cells of each result), all (every cell), or about how many cells; 0 or
        --no-check for none. By default yes at every level except modules.
    recipes
        File or folder of your own equations, which take precedence over ours; may be repeated.
    engine
        How calls of modules are seen: hooks (forward hooks on every submodule) or calls (all calls are intercepted). By
        default hooks, unless these would change the run or miss calls.
    force
        Replace an existing trace.
    """
    if (source is None) == (model.config is None):
        both = "SOURCE and --config both name a model: leave one of them out."
        raise TraceError(both if source else "Name a model: a hub id, a local folder, or demo:bert.")
    name = source or str(model.config)
    request = Request(source=name, model=model, input=given, generation=generation)
    options: dict[str, Any] = {"level": level, "include": include, "exclude": exclude}
    options |= {"check": parse_check(check), "engine": engine}
    options |= {
        "recipes": recipes,
        "layers": None if layers is None else _layers(layers),
        "values": parse_values(values or ["auto"]),
    }
    together = launched().world > 1  # then every process must choose the same name
    output = output or free_name(name.removesuffix(".json"), force or together)
    record_request(request, output, force, options)
    say(
        tr(
            "Next: 'tftrace view {output}' steps through it, 'tftrace export {output} run.csv' gives the numbers.",
            output=output,
        )
    )


def _layers(said: str) -> list[int]:
    """Parse `0,2,-1` or `0-3` into numbers."""
    found: list[int] = []
    for part in said.split(","):
        numbers = re.fullmatch(r"\s*(-?\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if last < first or (numbers and numbers[2] and first < 0):
            raise TraceError(f"There are no layers {said!r}: name them as 0,2,-1 or 0-3.")
        found += range(first, last + 1)
    return found
