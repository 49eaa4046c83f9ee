"""Matrix products along named dimensions, together with the sums of magnitudes that a rounding bound needs.

A check multiplies only two rows or so of each matrix. For these, `_products.c` reads the data once, where NumPy would
convert it to float64, take magnitudes, and read all of it again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..formula.language import FormulaError
from .value import MAX_CELLS, Array, to_float64

try:
    from . import _products as compiled
except ImportError:  # installed where there is no compiler
    compiled = None  # type: ignore[assignment]

_MOST_ROWS = 8  # rows of the smaller matrix up to which the compiled code is quicker than BLAS

Dims = tuple[str, ...]


class Product:
    """Multiplies two arrays with named dimensions, summing over some of them, and sums the magnitudes alike."""

    def __init__(self, a: Dims, b: Dims, dims: Dims, over: Dims) -> None:
        self._batch = [d for d in dims if d in a and d in b]
        self._left = [d for d in dims if d not in b]
        self._right = [d for d in dims if d not in a]
        self._a, self._b, self._dims, self._over = a, b, dims, over

    def __call__(self, x: Array, y: Array) -> tuple[Array, Array]:
        # if one array lacks a dimension that is summed over, it is repeated along it
        sizes = {d: n for dims, v in ((self._a, x), (self._b, y)) for d, n in zip(dims, v.shape, strict=True)}
        p, q = self._laid(x, self._a, self._left, sizes), self._laid(y, self._b, self._right, sizes)
        order = [*self._batch, *self._left, *self._right]
        shape, places = [sizes[d] for d in order], [order.index(d) for d in self._dims]
        v, size = (np.transpose(found.reshape(shape), places) for found in products(p, q))
        return v, size

    def _laid(self, v: Array, dims: Dims, own: list[str], sizes: Mapping[str, int]) -> Array:
        """Lay out an array as a batch of matrices: shared dimensions, its own, those that are summed over."""
        order = [*self._batch, *own, *self._over]
        v = v.transpose([dims.index(d) for d in order if d in dims])
        if missing := [d for d in self._over if d not in dims]:
            v = v[tuple(None if d in missing else slice(None) for d in order)]
            if math.prod([sizes[d] for d in order]) > MAX_CELLS:
                raise FormulaError(f"a product repeats {' '.join(missing)} more often than can be held at once")
            v = np.broadcast_to(v, [sizes[d] for d in order])
        lengths = [math.prod([sizes[d] for d in part]) for part in (self._batch, own, self._over)]
        return v.reshape(lengths)


def products(x: Array, y: Array) -> tuple[Array, Array]:
    """Sum over k the products of x [batch, m, k] and y [batch, n, k], and their magnitudes: two of [batch, m, n]."""
    batch, m, n = len(x), x.shape[1], y.shape[1]
    if compiled is None or min(m, n) > _MOST_ROWS:  # BLAS goes over the columns of larger matrices in blocks
        x, y = to_float64(x), to_float64(y)
        return x @ y.swapaxes(-1, -2), np.abs(x) @ np.abs(y).swapaxes(-1, -2)
    x, y = (v if v.dtype == np.float32 else to_float64(v) for v in (x, y))
    if y.itemsize not in y.strides[1:]:
        y = np.ascontiguousarray(y)
    v, size = np.empty((batch, m, n)), np.empty((batch, m, n))
    compiled.products(np.ascontiguousarray(x), y, v, size)
    return v, size
