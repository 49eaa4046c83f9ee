"""`tftrace record`: a forward pass of whatever the user names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import TraceError
from ..text import visible
from ._recording import record_source
from ._shared import Force, Level, Output, Patterns, Texts, say

Layers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


def record(
    source: str,
    *,
    text: Texts = None,
    output: Output = None,
    level: Level = "lines",
    include: Patterns = None,
    exclude: Patterns = None,
    layers: Layers = None,
    values: Patterns = None,
    check: bool | None = None,
    force: Force = False,
) -> None:
    """Record a forward pass of a model.

    Parameters
    ----------
    source
        A hub id, a local folder, or demo:bert, demo:gpt2, demo:transformer.
    text
        What the model is given; repeat it for a batch.
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
        Check the papers' equations; if neither is said, at every level but modules.
    force
        Replace an existing trace.
    """
    options: dict[str, Any] = {"level": level, "include": include, "exclude": exclude, "check": check}
    options |= {"layers": None if layers is None else _layers(layers), "values": _values(values or ["auto"])}
    trace = record_source(source, text or [], output or _free_name(source), force, options)
    say(f"Next: 'tftrace view {trace.path}' steps through it, 'tftrace export {trace.path} run.csv' gives the numbers.")


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


def _values(said: list[str]) -> str | list[str]:
    """One of the words that say what is kept, or patterns."""
    words = [word for word in said if word in ("auto", "all", "none")]
    if words and len(said) > 1:
        raise TraceError(f"--values {words[0]} stands alone: leave it out to name patterns.")
    return words[0] if words else said


def _free_name(source: str) -> Path:
    """`bert.tftrace` for demo:bert or a folder bert, numbered where that exists."""
    stem = visible(source.rstrip("/").replace(":", "/").rsplit("/", 1)[-1]) or "run"
    names = (Path(f"{stem}{'' if n == 1 else f'-{n}'}.tftrace") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())
