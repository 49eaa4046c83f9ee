"""Evaluates the drawn cells of several steps at once, and compares them with what the steps returned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ...recipes.evaluate.evaluator import Evaluator
from ...recipes.evaluate.plan import Plan
from ...recipes.evaluate.value import Array, Value, broadcast_to_dims, shared_zeros, to_float64
from ...recipes.formula.analysis import BATCH
from ...recipes.formula.nodes import Node
from ..measure.precision import UNIT
from .cells import Known, Reading, Units
from .host_arrays import host

_SINGLE = UNIT[torch.float32]


class Outcome(NamedTuple):
    """The outcome of a check, with its worst cell.

    Attributes:
        holds: Whether rounding explains the difference at every cell.
        residual: |returned − recomputed| at the worst cell.
        bound: The largest difference there that rounding explains.
        cells: How many cells were checked.
        symbol: The symbol whose cell it is.
        single: It holds if float32 rounds, although the run is in float64.
        wired: Everything that is only passed on went where the equation says, and there is such.
        partly: Something that is computed is what the equation gives.
    """

    holds: bool
    residual: float
    bound: float
    cells: int
    symbol: str
    single: bool = False
    wired: bool = False
    partly: bool = False


def judge(reading: Reading, plan: Plan, units: Units, columns: Sequence[Array]) -> list[Outcome | str]:
    """Evaluate a plan for several steps at once, and compare the results with what the steps returned.

    If terms of a sum repeat, its bound is larger. Finding such terms takes long, so it is done only for steps that do
    not hold without. Many norms, softmaxes and rotary embeddings are computed in float32 whatever their input is: what
    does not hold with the rounding of float64 is judged with that of float32.

    Args:
        reading: How the cells were read.
        plan: The plan of the equation or of a variant.
        units: The unit roundoffs.
        columns: What `reading.draw` returned for the steps, with one row for each.

    Returns:
        For each step its outcome, or a text that says why there is none.
    """
    found = _judge(reading, plan, units, columns, assume_distinct=True)
    if left := [at for at, outcome in enumerate(found) if isinstance(outcome, str) or not outcome.holds]:
        again = _judge(reading, plan, units, [column[left] for column in columns], assume_distinct=False)
        for at, outcome in zip(left, again, strict=True):
            found[at] = outcome
    left = [at for at in left if not isinstance(o := found[at], str) and not o.holds]
    if left and units[0] < _SINGLE:
        again = _judge(reading, plan, (_SINGLE, _SINGLE), [column[left] for column in columns], assume_distinct=False)
        for at, outcome in zip(left, again, strict=True):
            if isinstance(outcome, Outcome) and outcome.holds:
                found[at] = outcome._replace(single=True)
    return found


def _judge(
    reading: Reading, plan: Plan, units: Units, columns: Sequence[Array], assume_distinct: bool
) -> list[Outcome | str]:
    found: list[list[Outcome | str]] = []
    given: dict[str, tuple[Any, dict[Node, Value], Array]] = {}
    at = 0
    for read in reading.statements:
        parts = columns[at : at + len(read.leaves) + 1]
        at += len(parts)
        leaves = {
            leaf: _value(cells, dims, units[0] if unit is not None and unit < units[0] else 0.0)
            for leaf, dims, unit, cells in zip(read.leaves, read.dims, read.units, parts, strict=False)
        }
        given[read.symbol] = read, leaves, parts[-1].astype(np.float64)
    for statement in plan.statements:
        read, leaves, returned = given[statement.symbol]
        result = Evaluator(Known(plan.sizes, reading.numbers), *units, leaves, assume_distinct).evaluate(statement.body)
        spread = tuple(plan.sizes[dim] for dim in statement.spread)
        shape = (len(returned), *spread, *returned.shape[1:])
        result = broadcast_to_dims(result, (BATCH, *statement.spread, *plan.layouts[statement.symbol].names), shape)
        returned = np.broadcast_to(np.expand_dims(returned, tuple(range(1, 1 + len(spread)))), shape)
        exact = to_float64(result.v)
        bound = result.e + UNIT.get(read.dtype, 0.0) * np.abs(exact) + _tiny(read.dtype)
        found.append(_compare(statement.symbol, returned, exact, bound, read.dtype, [x.v for x in leaves.values()]))
    moves = [statement.moves for statement in plan.statements]
    if len(found) == 1 and not moves[0] and all(isinstance(o, str) or o.cells for o in found[0]):
        return found[0]
    return [_worst(outcomes, moves) for outcomes in zip(*found, strict=True)]


def judge_all(reading: Reading, plan: Plan, tensors: Mapping[str, torch.Tensor], units: Units) -> Outcome | str:
    """Judge every cell of what one step returned."""
    found: list[Outcome | str] = []
    for positions in reading.blocks():
        found += judge(reading, plan, units, [host(x)[None] for x in reading.read(tensors, units, positions)])
    judged = [o for o in found if isinstance(o, Outcome)]
    if not judged:
        return found[0]
    worst = max(judged, key=lambda o: (not o.holds, o.residual / o.bound if o.bound else o.residual))
    return worst._replace(
        cells=sum(o.cells for o in judged),
        single=any(o.single for o in judged),
        wired=all(o.wired for o in judged),
        partly=any(o.partly for o in judged),
    )


def _worst(outcomes: Sequence[Outcome | str], moves: Sequence[bool]) -> Outcome | str:
    """Combine the outcomes of a step's statements.

    A statement that differs decides; otherwise one that could not be checked; otherwise the one with the largest share
    of its bound. `moves` says which statements only pass something on.
    """
    judged = [o for o in outcomes if isinstance(o, Outcome)]
    unchecked = [o for o in outcomes if isinstance(o, str)]
    if unchecked and all(o.holds for o in judged):
        return unchecked[0]
    cells = sum(o.cells for o in judged)
    if not cells:
        return f"the drawn cells of {judged[0].symbol} are all zero"
    worst = max(judged, key=lambda o: (not o.holds, o.residual / o.bound if o.bound else o.residual))
    each = [(o.holds, moved) for o, moved in zip(outcomes, moves, strict=True) if isinstance(o, Outcome)]
    passed = [holds for holds, moved in each if moved]
    partly = any(holds for holds, moved in each if not moved)
    return worst._replace(cells=cells, wired=bool(passed) and all(passed), partly=partly)


def _value(v: Array, dims: tuple[str, ...], cast: float) -> Value:
    """A leaf of several steps as one value, with the rounding of a cast by autocast, if there was one."""
    integer = v.dtype.kind in "iu"
    v = v if v.dtype in (np.bool_, np.float32) else v.astype(np.float64, copy=False)
    off = cast * np.abs(v, dtype=np.float64) if cast else shared_zeros(v.shape)
    return Value((BATCH, *dims), v, off, integer=integer)


def _compare(
    symbol: str, returned: Array, exact: Array, bound: Array, dtype: torch.dtype, read: Sequence[Array]
) -> list[Outcome | str]:
    """Find the worst cell of each step.

    Cells at which rounding could explain any value say nothing. If all numbers that were `read` are finite, a NaN or an
    infinity does not hold; minus infinity may come from a mask that hides keys.
    """
    steps = len(returned)
    returned, exact, bound = (x.reshape(steps, -1) for x in (returned, exact, bound))
    made = np.zeros(steps, bool)
    with np.errstate(all="ignore"):
        residual = np.abs(returned - exact)
        if not math.isfinite(residual.sum()):
            same = (returned == exact) | (np.isnan(returned) & np.isnan(exact))
            same |= np.isneginf(returned) & (exact - bound <= -torch.finfo(dtype).max) & _least(read, steps, dtype)
            made = _finite(read, steps) & (same & ~np.isfinite(returned) & ~np.isneginf(returned)).any(1)
            residual = np.where(same, 0.0, np.where(np.isnan(residual), np.inf, residual))
        known: Any = True
        every = np.full(steps, exact.shape[1])
        if not math.isfinite(bound.sum() + exact.sum()):
            known = np.isfinite(exact) & np.isfinite(bound)
            every = known.sum(1)
        size = np.sqrt(np.square(exact).sum(1, where=known) / np.maximum(every, 1))
        # if everything is zero, only underflow is left
        telling = known & (bound <= np.maximum(size, 64 * _tiny(dtype))[:, None])
        share = residual / bound
        if not bound.all():
            share = np.where(residual > 0, share, 0.0)  # whole numbers have a bound of 0
    nothing: Any = True
    if not telling.all():
        wrong = known & (residual > bound)
        share = np.where(telling | wrong, share, -1.0)
        # cells that a ReLU cut off say nothing, and are no obstacle
        nothing = (known & ((exact == 0) & (returned == 0))).all(1)
        every = np.where(wrong.any(1), every, telling.sum(1))
    said = ((every.astype(bool) | nothing) & ~made).tolist()
    row, worst = np.arange(steps), share.argmax(1)
    off, most, cells = residual[row, worst].tolist(), bound[row, worst].tolist(), every.tolist()
    return [
        Outcome(off[at] <= most[at], off[at], most[at], cells[at], symbol)
        if said[at] or off[at] > most[at]
        else f"{symbol} is not finite, as the equation has it"
        if made[at] or not np.isfinite(exact[at]).any()
        else f"rounding alone could explain any value of {symbol}"
        for at in range(steps)
    ]


def _finite(read: Sequence[Array], steps: int) -> Array:
    """For each step, whether everything that was read is finite."""
    found = np.ones(steps, bool)
    for part in read:
        found &= np.isfinite(part).reshape(len(part), -1).all(1)
    return found


def _least(read: Sequence[Array], steps: int, dtype: torch.dtype) -> Array:
    """For each step, whether something that was read is the least number of the dtype, as in masks."""
    found = np.zeros((steps, 1), bool)
    for part in read:
        found |= (part.reshape(len(part), -1) <= -torch.finfo(dtype).max).any(1, keepdims=True)
    return found


def _tiny(dtype: torch.dtype) -> float:
    """The largest error of underflow, as the evaluator counts it."""
    if dtype in (torch.float16, torch.bfloat16):
        return 2.0**-24
    return torch.finfo(dtype).tiny if dtype.is_floating_point else 0.0
