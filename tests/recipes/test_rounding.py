"""The bound on a sum holds for any order of its terms, and for any number that the sum starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tftrace.recipes.evaluate import rounding
from tftrace.recipes.evaluate.evaluator import Evaluator
from tftrace.recipes.formula.language import parse

from ..support.formulas_in_torch import Known, Named

U = 2.0**-24
Array = np.ndarray[Any, Any]


def added(terms: Array, first: Array | float = 0.0) -> Array:
    """The sum along the last axis in float32, one term after the other, rounded every time."""
    begin = np.broadcast_to(np.asarray(first, np.float32), terms.shape[:-1])[..., None]
    return np.cumsum(np.concatenate([begin, terms.astype(np.float32)], -1), -1, dtype=np.float32)[..., -1]


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "positive": lambda draw, shape: np.abs(draw.normal(size=shape)),
    "all the same": lambda draw, shape: np.broadcast_to(draw.uniform(0.5, 2, (shape[0], 1)), shape),
    "of two values": lambda draw, shape: draw.choice([0.1, 0.7], shape) * draw.uniform(0.5, 2, (shape[0], 1)),
    "of eight values": lambda draw, shape: draw.choice(draw.uniform(0.1, 1, 8), shape),
    "half of them zero": lambda draw, shape: np.maximum(draw.normal(size=shape), 0),
    "some very large": lambda draw, shape: draw.normal(size=shape) ** 5,
    "alternating": lambda draw, shape: np.resize([1.0, -1.0], shape) * draw.uniform(0.5, 2, (shape[0], 1)),
}
ORDERS: dict[str, Callable[[Array], Array]] = {
    "as they are": lambda p: p,
    "small to large": lambda p: np.take_along_axis(p, np.abs(p).argsort(-1), -1),
    "large to small": lambda p: np.take_along_axis(p, (-np.abs(p)).argsort(-1), -1),
    "negative ones first": lambda p: np.sort(p, -1),
    "in blocks": lambda p: np.stack([added(part) for part in np.array_split(p, max(p.shape[-1] // 64, 1), -1)], -1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_order_of_terms_exceeds_the_bound(kind: str) -> None:
    draw = np.random.default_rng(0)
    for n in (4, 20, 64, 256, 1024, 8192):
        terms = np.asarray(KINDS[kind](draw, (40 if n < 8192 else 8, n)), np.float32)
        exact, size = terms.astype(np.float64).sum(-1), np.abs(terms.astype(np.float64)).sum(-1)
        bound = rounding.sum_units(terms.astype(np.float64)) * U * size + U * np.abs(exact)
        for order, arranged in ORDERS.items():
            found = added(arranged(terms)).astype(np.float64)
            assert (np.abs(found - exact) <= bound).all(), (kind, n, order, (np.abs(found - exact) / bound).max())


def test_terms_that_differ_keep_the_narrow_bound_and_others_do_not() -> None:
    draw = np.random.default_rng(0)
    for kind in ("normal", "positive", "half of them zero", "some very large"):
        assert (rounding.sum_units(KINDS[kind](draw, (50, 1024))) == 4 * 32).all(), kind
    assert (rounding.sum_units(KINDS["all the same"](draw, (5, 1024))) == 1024).all()
    # and they must: such a sum is further off than four roots of its length
    terms = np.full((1, 8192), 0.7, np.float32)
    off = abs(float(added(terms)[0]) - 8192 * float(np.float32(0.7)))
    assert off > 4 * np.sqrt(8192) * U * 8192 * 0.7


@pytest.mark.parametrize("large", [1.0, 30.0, 1000.0])
def test_a_sum_may_begin_with_what_is_added_to_it(large: float) -> None:
    # GIVEN a product to which a bias is added, as kernels do that begin with the bias
    draw = np.random.default_rng(1)
    ((_, node),) = parse("x @ T(A) + b").statements
    worst = 0.0
    for n in (8, 64, 512):
        x, a, b = (draw.normal(size=s).astype(np.float32) for s in ((6, n), (5, n), (5,)))
        b = (b * large * np.sqrt(n)).astype(np.float32)
        found = added((x[:, None] * a[None]).astype(np.float32), b).astype(np.float64)
        dims = {"x": ("T", "I"), "A": ("O", "I"), "b": ("O",)}
        given = zip(dims.items(), (x, a, b), strict=True)
        known = Known({name: Named(names, torch.from_numpy(array)) for (name, names), array in given}, {})
        exact = Evaluator(known, U).evaluate(node)
        residual = np.abs(found - exact.v)
        assert (residual <= exact.e).all()
        # THEN the bound covers it, which without the bias in the sum it would not
        narrow = exact.e - (U + rounding.units(n, np.array(np.inf)) * U) * np.abs(b)
        worst = max(worst, float((residual / narrow).max()))
    assert worst > 1 or large < 1000
