"""Which dimension is which, while a tensor is transposed and reshaped on its way from one function to the next.

An axis is a tuple of letters: of `b` and `h` made one it has both. Axes of size 1 that were put in have none."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from .tape import Made, Operand

Axes = tuple[str, ...]  # of each axis its letters


class Sizes(dict[str, int]):
    """The size of each letter. Where a dimension is taken apart its letter stands for others, outermost first."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__(sizes)
        self.parts: dict[str, str] = {}
        self._spare = [chr(n) for n in range(0x3B1, 0x3C9)]  # letters that no einsum has

    def of(self, letters: str) -> int:
        """How many positions an axis of these letters has."""
        return prod(self[letter] for letter in letters)

    def split(self, letter: str, first: int) -> tuple[str, str]:
        """Take a dimension apart: the outer part has this size."""
        outer, inner = self._spare.pop(0), self._spare.pop(0)
        self[outer], self[inner] = first, self[letter] // first
        self.parts[letter] = outer + inner
        return outer, inner

    def in_parts(self, letters: str) -> str:
        """Letters with those that were taken apart replaced by their parts."""
        while any(letter in self.parts for letter in letters):
            letters = "".join(self.parts.get(letter, letter) for letter in letters)
        return letters


def moved(made: Made, axes: Axes, sizes: Sizes) -> Axes | None:
    """The axes after a function that only moves numbers; None where they are mixed or cut."""
    count = len(axes)
    if made.kind == "transpose":
        one, two = (_axis(made.get(at, name), count) for at, name in ((1, "dim0"), (2, "dim1")))
        if one is None or two is None:
            return None
        found = list(axes)
        found[one], found[two] = found[two], found[one]
        return tuple(found)
    if made.kind == "permute":
        order = made.args[1:] if len(made.args) > 2 else made.get(1, "dims")
        order = order[0] if isinstance(order, (tuple, list)) and len(order) == 1 and count > 1 else order
        places = [_axis(at, count) for at in order] if isinstance(order, (tuple, list)) else []
        return tuple(axes[at] for at in places if at is not None) if len(places) == count else None
    if made.kind == "movedim":
        return _movedim(made.get(1, "source"), made.get(2, "destination"), axes)
    if made.kind == "turned":
        return (*axes[:-2], axes[-1], axes[-2]) if count == 2 or (count > 2 and made.name == "mT") else None
    if made.kind == "shaped":
        other = any(isinstance(value, torch.dtype) for value in made.args)  # the same bytes as other numbers
        return None if other else reshaped(axes, made.shape, sizes)
    if made.kind in ("same", "expand"):
        return axes if len(made.shape) == count and made.shape == tuple(map(sizes.of, axes)) else None
    return None


def _axis(at: Any, count: int) -> int | None:
    return at % count if isinstance(at, int) and -count <= at < count else None


def _movedim(source: Any, destination: Any, axes: Axes) -> Axes | None:
    sources = source if isinstance(source, (tuple, list)) else [source]
    targets = destination if isinstance(destination, (tuple, list)) else [destination]
    places = [(_axis(a, len(axes)), _axis(b, len(axes))) for a, b in zip(sources, targets, strict=False)]
    if any(a is None or b is None for a, b in places):
        return None
    taken = {b: axes[a] for a, b in places if a is not None}
    rest = iter([axes[at] for at in range(len(axes)) if at not in {a for a, _ in places}])
    return tuple(taken[at] if at in taken else next(rest) for at in range(len(axes)))


def reshaped(axes: Axes, shape: Sequence[int], sizes: Sizes) -> Axes | None:
    """The axes of the same numbers in another shape, where dimensions are only joined or taken apart."""
    waiting = [letter for axis in axes for letter in axis if sizes[letter] != 1]
    units = [letter for axis in axes for letter in axis if sizes[letter] == 1]
    found = []
    for size in shape:
        letters = ""
        while sizes.of(letters) < size and waiting:
            letter = waiting.pop(0)
            need = size // sizes.of(letters)
            if sizes[letter] > need:
                if sizes[letter] % need:
                    return None
                letter, rest = sizes.split(letter, need)
                waiting.insert(0, rest)
            letters += letter
        if sizes.of(letters) != size:
            return None
        found.append(letters)
    if waiting:
        return None
    for at, letters in enumerate(found):  # a dimension of size 1 is where one was before, as far as that can be told
        if not letters and units:
            found[at] = units.pop(0)
    return tuple(found)


def chained(made: Made) -> Operand | None:
    """The tensor that a function which only moves numbers was given."""
    found = made.get(0, "input", made.get(0, "self"))
    return found if isinstance(found, Operand) else None


def laid(tensor: torch.Tensor, axes: Sequence[str], order: Sequence[str], sizes: Sizes) -> torch.Tensor | None:
    """A view of a tensor with a dimension for each letter of `order`; along letters that it lacks it is the same
    everywhere. None where it has others."""
    letters: list[str] = []
    shape: list[int] = []
    for size, axis in zip(tensor.shape, axes, strict=True):
        own = sizes.in_parts(axis)
        letters += own
        shape += [1] * len(own) if size == 1 else [sizes[letter] for letter in own]
    if not set(letters) <= set(order):
        return None
    missing = [letter for letter in order if letter not in letters]
    try:
        found = tensor.view([1] * len(missing) + shape)
        places = [(missing + letters).index(letter) for letter in order]
        return found.permute(places).expand([sizes[letter] for letter in order])
    except RuntimeError:
        return None


def thin(tensor: torch.Tensor) -> torch.Tensor:
    """One position along each dimension in which a tensor is the same everywhere."""
    for axis, (size, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and not step:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def taken_apart(tensor: torch.Tensor, axis: int, shape: tuple[int, int]) -> torch.Tensor:
    """A view with one dimension as two."""
    axis %= tensor.dim()
    return tensor.view(*tensor.shape[:axis], *shape, *tensor.shape[axis + 1 :])
