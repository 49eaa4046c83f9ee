"""Rows of the tree under folds and filters, and the bar along a forward pass."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace import Trace
from tftrace.navigate import timeline
from tftrace.navigate.outline import Outline

from ..support.builders import attention_trace, tree_trace
from .test_stepping import trees


def rows(outline: Outline) -> list[int]:
    return [outline.position(row) for row in range(len(outline))]


@settings(max_examples=40, deadline=None)
@given(trees(), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.sets(st.integers(1, 40)))
def test_on_any_tree(depths: list[int], folds: set[int], wanted: set[int], lines: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = tree_trace(Path(folder), depths, lines)
        size, outline = len(trace), Outline(trace)
        around = [_around(trace, at) for at in range(size)]
        # a step has a row unless a call around it is folded; lines and calls without steps do not fold
        outline.fold(folds)
        folded = {at for at in folds if at < size and at not in lines and trace.children(at)}
        assert outline.folded == sorted(folded)
        assert rows(outline) == [at for at in range(size) if not folded & around[at]]
        for at in range(size):
            assert outline.shows(at) == (not folded & around[at])
            assert outline.position(outline.row(at)) <= at
        # a filter shows its matches and what they stand in, and comes off again
        column = np.isin(np.arange(size), list(wanted))
        outline.filter(column)
        assert rows(outline) == [
            at for at in range(size) if column[at] or any(at in around[m] for m in wanted if m < size)
        ]
        outline.filter(None)
        assert rows(outline) == [at for at in range(size) if not folded & around[at]]
        # revealing a step unfolds what is around it and nothing else
        last = size - 1
        outline.reveal(last)
        assert outline.shows(last)
        assert outline.folded == sorted(folded - around[last])
        outline.fold_all(but=last)
        assert outline.shows(last)
        outline.unfold_all()
        assert rows(outline) == list(range(size))


def _around(trace: Trace, position: int) -> set[int]:
    above = trace.parent(position)
    return set() if above is None else {above} | _around(trace, above)


def test_folds_of_a_known_tree(tmp_path: Path) -> None:
    outline = Outline(attention_trace(tmp_path, forwards=2))
    outline.fold_all(but=6)
    assert rows(outline) == [*range(12), 14, 15]  # attend() and the second forward are closed
    assert not outline.reveal(6)
    assert outline.reveal(12)
    assert rows(outline) == [*range(16)]


def test_a_bar_adds_up_what_steps_took_themselves(tmp_path: Path) -> None:
    trace = tree_trace(tmp_path, [0, 1, 1, 0])
    # each step took 500 ns; the first has two inside and is left with nothing
    assert timeline.measured(trace, 0, 4, 4, "time").tolist() == [0, 500, 500, 500]
    assert timeline.measured(trace, 0, 4, 2, "time").tolist() == [500, 1000]
    assert timeline.measured(trace, 0, 3, 6, "time").tolist() == [0, 0, 500, 500, 500, 500]
    assert [timeline.column_of(at, 0, 4, 2) for at in range(4)] == [0, 0, 1, 1]
    assert [timeline.root(trace, at) for at in range(4)] == [0, 0, 0, 3]


def test_a_bar_of_norms_has_the_largest(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    found = timeline.measured(trace, 0, 15, 15, "l2")
    assert np.flatnonzero(found == 3.9).tolist() == [4, 6]  # the calls that returned something
    assert np.isnan(found[0])
    first, second = timeline.measured(trace, 0, 15, 2, "l2")
    assert (first, np.isnan(second)) == (3.9, True)
