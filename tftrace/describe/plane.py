"""Which plane of a tensor is shown, chosen by the names of its axes: `B=0 H=3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import TraceError

_CHOICE = re.compile(r"([^\s=]+)\s*=\s*(-?\d{1,12}|:)")


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a tensor.

    Attributes:
        names: The names of the axes.
        shape: The shape of the tensor.
        rows: The axis shown as rows, -1 for none.
        columns: The axis shown as columns, -1 for none.
        index: The index along each axis; it counts only for the axes not shown.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    rows: int
    columns: int
    index: tuple[int, ...]

    @property
    def others(self) -> list[int]:
        """The axes that are not shown, along which `index` counts."""
        return [at for at in range(len(self.shape)) if at not in (self.rows, self.columns)]

    def text(self) -> str:
        """The plane as a user types it: `B=0 H=3 T=: D=:`."""
        seen = (self.rows, self.columns)
        return " ".join(f"{name}={':' if at in seen else self.index[at]}" for at, name in enumerate(self.names))

    def moved(self, axis: int, by: int) -> Plane:
        """The plane moved by `by` along `axis`, clamped to the tensor."""
        index = list(self.index)
        index[axis] = max(0, min(index[axis] + by, self.shape[axis] - 1))
        return replace(self, index=tuple(index))

    def turned(self) -> Plane:
        """The plane with rows and columns exchanged."""
        return replace(self, rows=self.columns, columns=self.rows)


def default_plane(names: Sequence[str], shape: Sequence[int]) -> Plane:
    """The plane of the last two axes at index 0 of the others."""
    size = len(shape)
    return Plane(tuple(names), tuple(shape), size - 2 if size > 1 else -1, size - 1, (0,) * size)


def parse_plane(plane: Plane, text: str) -> Plane:
    """Parse the choice of a plane, such as `B=0 H=3`: `name=index` fixes an axis, `name=:` shows it.

    Args:
        plane: The current plane; axes not named keep their role and index where possible.
        text: The choice.

    Raises:
        TraceError: The text cannot be parsed, or names an axis or index that the tensor does not have.
    """
    index, cut, seen = list(plane.index), set(), []
    rest = _CHOICE.sub("", text).strip(" ,")
    if rest:
        raise TraceError(f"{rest!r} cannot be read: write an axis and an index, such as {plane.names[0]}=0.")
    for name, value in _CHOICE.findall(text):
        if name not in plane.names:
            raise TraceError(f"There is no axis {name}: the axes are {' '.join(plane.names)}.")
        axis = plane.names.index(name)
        if value == ":":
            seen.append(axis)
            continue
        at = int(value) + (plane.shape[axis] if value.startswith("-") else 0)
        if not 0 <= at < plane.shape[axis]:
            raise TraceError(f"{name} goes from 0 to {plane.shape[axis] - 1}.")
        index[axis] = at
        cut.add(axis)
    before = [axis for axis in (plane.rows, plane.columns) if axis >= 0]
    free = [axis for axis in (*seen, *before, *reversed(range(len(plane.shape)))) if axis not in cut]
    pair = sorted(dict.fromkeys(seen or free[:2]))
    for axis in free:
        if len(pair) < 2 and axis not in pair:
            pair = sorted([*pair, axis])
    if not pair:
        raise TraceError("Every axis has an index: leave at least one out.")
    rows, columns = (pair[0], pair[1]) if len(pair) > 1 else (-1, pair[0])
    return replace(plane, rows=rows, columns=columns, index=tuple(index))
