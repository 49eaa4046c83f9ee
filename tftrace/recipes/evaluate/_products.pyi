"""See `_products.c`."""

from .value import Array

def products(x: Array, y: Array, sums: Array, sizes: Array) -> None: ...
