"""The axes of a result as the equation of its step names them, those that share an axis apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from ...errors import TraceError
from ...recipes.format.library import Inside, Library, Match
from ...recipes.formula.dims import Pattern, ShapeError, solve
from ..torch_internals import children_of, parameters_of


class Named(NamedTuple):
    """The sizes of the named dimensions of a tensor, in order."""

    sizes: Mapping[str, int]


def matches_of_module(library: Library, module: torch.nn.Module) -> list[Match]:
    """The equations that may describe a module."""
    inside = Inside(children_of(module), parameters_of(module), module.__dict__)
    return [match for level in library.of_module(type(module), inside) for match in level]


def named_axes(
    matches: Iterable[Match], shape: tuple[int, ...], wanted: Iterable[str], heads: int | None, whose: str
) -> dict[str, int]:
    """The sizes of the dimensions of a result, in order, by the first equation that names all that are wanted.

    Args:
        matches: The equations that may describe the step.
        shape: The shape of the result.
        wanted: The names.
        heads: How many heads the step has, if it is an attention; it tells heads apart that share an axis.
        whose: The name of the step, for a message.

    Raises:
        TraceError: No equation of the step names such dimensions of its result.
    """
    asked, known = set(wanted), set[str]()
    for pattern in _results(matches):
        for given in _guesses(pattern, heads):
            try:
                sizes, layouts = solve({"": pattern}, {"": shape}, given)
            except ShapeError:
                continue
            names = [name for axis in layouts[""].axes for name in (axis or ("",))]
            found = {name or f"_{at}": sizes.get(name, 1) for at, name in enumerate(names)}
            known |= {name for name in names if name.isidentifier()}
            if asked <= found.keys():
                return found
    there = f"names {', '.join(sorted(known))}" if known else "names no dimensions of its result"
    raise TraceError(
        f"There is no dimension {', '.join(sorted(asked - known) or sorted(asked))} in {whose}: its equation {there}."
    )


def _results(matches: Iterable[Match]) -> Iterable[Pattern]:
    """The dimensions of what the equations say is returned."""
    for match in matches:
        for symbol, binding in match.bind.symbols.items():
            own = [
                one for one in binding.sources if getattr(one, "kind", "") == "return" and not getattr(one, "child", "")
            ]
            if own and symbol in match.equation.dims:
                yield match.equation.dims[symbol]


def _guesses(pattern: Pattern, heads: int | None) -> list[dict[str, int]]:
    shared = [axis.names[0] for axis in pattern.axes if len(axis.names) > 1]
    return [{}, *({name: heads} for name in shared if heads is not None)]
