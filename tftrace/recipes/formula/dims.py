"""Named dimensions: `"B H Tq D"` names each axis of a tensor, `"B T (H D)"` says that the last one holds two.

They check shapes, appear as the shape comment beside an equation, and tell which cells can be recomputed on their own.
`B?` is an axis that may be missing or of size 1, `*` is any number of axes, `S=3` fixes a size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from ...errors import TraceError

STAR = "*"
_NAME = r"[^\W\d]\w*(?:=[1-9]\d{0,8})?"
_AXIS = re.compile(
    rf"\s*(?:(?P<star>\*)|\((?P<group>\s*{_NAME}(?:\s+{_NAME})*\s*)\)(?P<gopt>\?)?|(?P<name>{_NAME})(?P<opt>\?)?)(?=\s|$)"
)


class ShapeError(TraceError):
    """Raised for a shape that does not fit the named dimensions."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis and the named dimensions it holds, outermost first."""

    names: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """The named dimensions of one tensor, and the sizes that the pattern fixes."""

    source: str
    axes: tuple[Axis, ...]
    fixed: tuple[tuple[str, int], ...] = ()


@lru_cache(maxsize=4096)
def parse(source: str) -> Pattern:
    """Parse a pattern such as `"B T (H D)"`; raises ShapeError, which names the column."""
    axes: list[Axis] = []
    fixed: dict[str, int] = {}
    at = 0
    while source[at:].strip():
        found = _AXIS.match(source, at)
        if found is None:
            raise ShapeError(f"The dimensions {source!r} cannot be read from column {at + 1}.")
        words = [STAR] if found["star"] else (found["group"] or found["name"] or "").split()
        names = []
        for word in words:
            name, _, size = word.partition("=")
            names.append(name)
            if size:
                fixed[name] = int(size)
        axes.append(Axis(tuple(names), bool(found["opt"] or found["gopt"])))
        at = found.end()
    if sum(STAR in axis.names for axis in axes) > 1:
        raise ShapeError(f"The dimensions {source!r} have more than one '*'.")
    return Pattern(source, tuple(axes), tuple(fixed.items()))


@dataclass(frozen=True, slots=True)
class Layout:
    """The dimensions of each axis of one tensor; None for an optional axis of size 1."""

    axes: tuple[tuple[str, ...] | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The named dimensions in order, with groups flattened."""
        return tuple(name for axis in self.axes if axis is not None for name in axis)


def solve(
    patterns: Mapping[str, Pattern], shapes: Mapping[str, Sequence[int]], known: Mapping[str, int] | None = None
) -> tuple[dict[str, int], dict[str, Layout]]:
    """Find the sizes of all named dimensions and the layout of each tensor.

    Args:
        patterns: the pattern of each symbol.
        shapes: the shape of each tensor, by symbol.
        known: sizes that are known beforehand.

    Returns:
        The size of each dimension, and the layout of each tensor.

    Raises:
        ShapeError: the shapes contradict each other, or do not determine a size.

    Example:
        `solve({"x": parse("B (H D)")}, {"x": (2, 12)}, {"H": 3})` gives the sizes `B = 2, H = 3, D = 4`.
    """
    sizes: dict[str, int] = dict(known or {})
    first: dict[str, str] = {}
    layouts, waiting = {}, []
    for symbol, shape in shapes.items():
        pattern = patterns[symbol]
        for name, size in pattern.fixed:
            sizes[name] = size
        layouts[symbol] = layout = _lay_out(symbol, pattern, shape)
        waiting += [(symbol, names, size) for names, size in zip(layout.axes, shape, strict=True) if names is not None]
    while waiting:
        later = []
        for symbol, names, size in waiting:
            unknown = [name for name in names if name not in sizes]
            rest = prod(sizes[name] for name in names if name in sizes)
            if len(unknown) > 1:
                later.append((symbol, names, size))
            elif unknown and rest and size % rest == 0:
                sizes[unknown[0]], first[unknown[0]] = size // rest, symbol
            elif rest != size or unknown:
                where = first.get(names[-1])
                there = f" where {where} has {sizes.get(names[-1])}" if where else ""
                raise ShapeError(f"{symbol} has {size} along {' '.join(names)}{there}")
        if len(later) == len(waiting):
            raise ShapeError(f"the sizes of {' '.join(later[0][1])} in {later[0][0]} cannot be told from the tensors")
        waiting = later
    return sizes, layouts


def _lay_out(symbol: str, pattern: Pattern, shape: Sequence[int]) -> Layout:
    """Match the axes of one tensor with its pattern, with `*` and optional axes resolved."""
    axes = list(pattern.axes)
    star = next((i for i, axis in enumerate(axes) if STAR in axis.names), None)
    if star is not None:
        extra = len(shape) - (len(axes) - 1)
        if extra < 0:
            raise ShapeError(f"{symbol} has {len(shape)} axes, fewer than '{pattern.source}'")
        axes[star : star + 1] = [Axis((f"{STAR}{i}",)) for i in range(extra)]
    while len(axes) > len(shape):
        missing = next((axis for axis in axes if axis.optional), None)
        if missing is None:
            break
        axes.remove(missing)
    if len(axes) != len(shape):
        raise ShapeError(f"{symbol} has {len(shape)} axes where '{pattern.source}' has {len(pattern.axes)}")
    return Layout(tuple(None if a.optional and n == 1 else a.names for a, n in zip(axes, shape, strict=True)))
