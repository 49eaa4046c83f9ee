"""Where in a tensor its bad numbers stand: the row of the batch, the token, the head; and whether only in padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .causes import first_bad
from .dtype_limits import LARGEST
from .fills import numbers_of

_MASKS = ("attention_mask", "input_mask", "mask", "padding_mask", "key_padding_mask", "src_key_padding_mask")
_HIDES = ("padding_mask",)  # in the name of a mask whose True is what is hidden


@dataclass(frozen=True, slots=True)
class Where:
    """The first bad number of a tensor; None is what cannot be told."""

    row: int | None = None
    token: int | None = None
    head: int | None = None


class Forward:
    """The sizes of the batch of one forward, and which of its tokens are padding."""

    def __init__(self, trace: Trace, root: int) -> None:
        self._trace = trace
        given = [row for row in trace.tensors_of(root) if row.role == schema.INPUT]
        flat = [row for row in given if len(row.shape) == 2 and row.dtype not in LARGEST]  # tokens, masks
        deep = [row for row in given if len(row.shape) == 3 and row.dtype in LARGEST]
        self._batches = {row.shape[0] for row in flat or deep}
        self._lengths = {row.shape[1] for row in flat or deep}
        self._given = flat

    @cached_property
    def padding(self) -> np.ndarray | None:
        """Which tokens of which row are padding, if a mask says so and hides some."""
        for row in self._given:
            numbers = numbers_of(self._trace, row) if row.name in _MASKS else None
            if numbers is not None and numbers.dtype.kind in "biu" and len(np.unique(numbers)) == 2:
                hidden: np.ndarray = (numbers != 0) if any(word in row.name for word in _HIDES) else (numbers == 0)
                return hidden
        return None

    @cached_property
    def hidden(self) -> int:
        """How many tokens are padding, of which no more is known."""
        return next((int(r.zero or 0) for r in self._given if r.name in _MASKS[:2] and r.value is None), 0)

    @property
    def pads(self) -> bool:
        """Whether any token is padding."""
        return self.padding is not None or bool(self.hidden)

    def axes(self, shape: tuple[int, ...]) -> tuple[int | None, int | None, int | None]:
        """The axes of row, token and head in a tensor of this shape."""
        if len(shape) == 4 and (shape[2] in self._lengths or shape[1] not in self._lengths):
            return 0, 2, 1
        if len(shape) >= 2 and shape[0] not in self._batches and shape[1] in self._batches:
            return 1, 0, None
        if len(shape) >= 3 or (len(shape) == 2 and shape[1] in self._lengths):
            return 0, 1, None
        return (0, None, None) if shape else (None, None, None)

    def place(self, row: TensorRow) -> Where:
        """Where the first bad number of a tensor stands."""
        numbers = numbers_of(self._trace, row)
        index = None if numbers is None else first_bad(numbers)
        if index is None and row.numel and (row.nan or 0) + (row.inf or 0) == row.numel:
            index = (0,) * len(row.shape)
        if index is None:
            return Where()
        length = next((n for rows in self._batches for n in self._lengths if row.shape[:1] == (rows * n,)), 0)
        if len(row.shape) == 2 and length > 1 and row.shape[0] not in self._batches:  # rows and tokens laid out as one
            return Where(*divmod(index[0], length))
        return Where(*(None if axis is None else index[axis] for axis in self.axes(row.shape)))

    def only_padding(self, row: TensorRow) -> bool:
        """Whether the bad numbers of a tensor stand at padded tokens alone, as far as it can be told."""
        at_row, at_token, _ = self.axes(row.shape)
        if at_row is None or at_token is None:
            return False
        bad = (row.nan or 0) + (row.inf or 0)
        if self.padding is None:
            width = (row.numel or 0) // max(1, row.shape[at_row] * row.shape[at_token])
            return bool(self.hidden) and bad == self.hidden * width
        if (row.shape[at_row], row.shape[at_token]) != self.padding.shape:
            return False
        numbers = numbers_of(self._trace, row)
        if numbers is None:
            return bad == int(self.padding.sum()) * ((row.numel or 0) // self.padding.size)
        others = tuple(axis for axis in range(numbers.ndim) if axis not in (at_row, at_token))
        found = (~np.isfinite(numbers)).any(axis=others)
        return not (found if at_row < at_token else found.T)[~self.padding].any()
