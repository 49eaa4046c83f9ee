"""Parses where the symbols of a recipe come from in a run: names of arguments, attributes and calls.

Such names are only ever read; nothing is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .mistake import RecipeError

LONGEST = 200  # characters of a name or source

_REFERENCE = re.compile(r"(arg|return|param|attr|config|init|local|index|seen)(?::([\w.\[\]-]+))?(?:\s+of\s+(\S+))?")
_STEP = re.compile(r"\.?(\w+)|\[(-?\d{1,6})\]")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a symbol comes from.

    It is `arg:query`, `return:[0]`, `param:weight`, `attr:eps`, `config:layer_norm_eps`, `init:scaling` (what the
    constructor's own line gives an attribute), `local:scores`, `seen:Q` (of a pattern that was seen) or `index` (the
    number of a layer) of the step itself. With `of NAME` it belongs to a call below the step (`return of dense`; `of
    dense#0` is the first of several), with `of ..` to the module around it, and with `of <` to the previous call of the
    same class.

    Attributes:
        kind: The word before the colon.
        path: Names and indices after the colon.
        child: The word after `of`, without the number of the call; None for the step itself.
        source: The text of the whole reference.
        call: Which of several calls of `child`, from 0; from the end if it is negative.
    """

    kind: str
    path: tuple[str | int, ...]
    child: str | None
    source: str
    call: int = -1


@dataclass(frozen=True, slots=True)
class Binding:
    """The sources of a symbol.

    Attributes:
        sources: They are tried in order; a number always fits.
        optional: Whether the symbol may stay unbound.
    """

    sources: tuple[Reference | float, ...]
    optional: bool = False


def binding(source: Any) -> Binding:
    """Parse what a bind gives for a symbol.

    Args:
        source: A number, or references separated by `|`, with a `?` at the end if the symbol may stay unbound.

    Raises:
        RecipeError: It is neither.
    """
    if isinstance(source, (int, float)) and not isinstance(source, bool):
        return Binding((_number(source),))
    if not isinstance(source, str):
        raise RecipeError("a symbol is bound to a text such as 'arg:query', or to a number.")
    parts = [part.strip() for part in source.split("|")]
    optional = parts[-1].endswith("?")
    parts[-1] = parts[-1].rstrip("?").strip()
    return Binding(tuple(_number(p) if _NUMBER.fullmatch(p) else reference(p) for p in parts), optional)


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise RecipeError("the number is larger than a float can be.") from error


def reference(source: str) -> Reference:
    """Parse a reference, such as `return of dense#0`.

    Raises:
        RecipeError: It is no reference.
    """
    found = _REFERENCE.fullmatch(source.strip()) if len(source) <= LONGEST else None
    if found is None:
        shown = source if len(source) <= 60 else f"{source[:60]}…"
        raise RecipeError(f"the source {shown!r} is not of the form arg:NAME, return:[0], param:NAME … (of CHILD).")
    kind, path, child = found.groups()
    if "__" in (path or ""):
        raise RecipeError(f"the source {source!r} names what belongs to Python: nothing with two underscores is read.")
    if _STEP.sub("", path or ""):
        raise RecipeError(f"the path {path!r} is not of the form NAME.NAME[0].")
    steps = tuple(name or int(index) for name, index in _STEP.findall(path or ""))
    name, mark, number = (child or "").partition("#")
    if mark and not re.fullmatch(r"-?\d{1,6}", number):
        raise RecipeError(f"the call {child!r} is not of the form NAME#0.")
    return Reference(kind, steps, name or None, source.strip(), int(number) if mark else -1)
