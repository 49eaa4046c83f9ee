"""Embeddings on the tape: rows of a table, times the root of their width."""

from __future__ import annotations

import math

from .activation import PASSING, through
from .proposal import Proposal, need
from .scale import number
from .tape import Made, Operand


def scaled_embedding(made: Made) -> Proposal | None:
    """Rows of a table times √d."""
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (one, two) if number(two) is not None else (two, one)
    by = number(two)
    if by is None or not isinstance(one, Operand):
        return None
    table = through(one, PASSING).maker
    if table is None or table.kind != "embedding" or not math.isclose(by, made.shape[-1] ** 0.5, rel_tol=2e-3):
        return None
    rows, weight = table.get(0, "input"), table.get(1, "weight")
    if not isinstance(rows, Operand) or not isinstance(weight, Operand):
        return None
    found = Proposal("scaled-embedding", table.step)
    found.tensors |= {"i": need(rows.tensor), "W": need(weight.tensor), "out": need(made.result)}
    return found


def tied_head(made: Made) -> Proposal | None:
    """A linear map by the very table that embeddings were taken from."""
    given, weight = made.get(0, "input"), made.get(1, "weight")
    if not isinstance(given, Operand) or not isinstance(weight, Operand) or weight.table is None:
        return None
    if made.get(2, "bias") is not None:
        return None
    found = Proposal("tied-head", weight.table)
    found.tensors |= {"x": need(given.tensor), "W": need(weight.tensor), "out": need(made.result)}
    return found
