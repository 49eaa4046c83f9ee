"""The two axes of a tensor that are shown as a plane, chosen by the names of its axes."""

from __future__ import annotations

import pytest

from tftrace import describe
from tftrace.errors import TraceError

HEADS = describe.default_plane(("B", "H", "T", "D"), (2, 4, 8, 16))


def test_the_last_two_axes_are_seen_first() -> None:
    assert HEADS.text() == "B=0 H=0 T=: D=:"
    assert HEADS.others == [0, 1]
    assert describe.default_plane(("E",), (3,)).text() == "E=:"
    assert describe.default_plane((), ()).text() == ""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("B=1 H=3", "B=1 H=3 T=: D=:"),
        ("H = -1", "B=0 H=3 T=: D=:"),
        ("T=2", "B=0 H=: T=2 D=:"),  # an axis that was seen is cut: the next one is seen instead
        ("H=: D=:, T=7", "B=0 H=: T=7 D=:"),
        ("B=1 H=1 T=1", "B=1 H=1 T=1 D=:"),
        ("", "B=0 H=0 T=: D=:"),
    ],
)
def test_choices(asked: str, said: str) -> None:
    assert describe.parse_plane(HEADS, asked).text() == said


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("X=0", "There is no axis X: the axes are B H T D."),
        ("H=4", "H goes from 0 to 3."),
        ("H=-5", "H goes from 0 to 3."),
        ("head 3", "'head 3' cannot be read: write an axis and an index, such as B=0."),
        ("B=0 H=0 T=0 D=0", "Every axis has an index"),
    ],
)
def test_what_cannot_be_read_is_said(asked: str, sentence: str) -> None:
    with pytest.raises(TraceError, match=sentence):
        describe.parse_plane(HEADS, asked)


def test_moving_stays_within_the_tensor() -> None:
    assert HEADS.moved(1, 99).index == (0, 3, 0, 0)
    assert HEADS.moved(1, -1).index == (0, 0, 0, 0)
    assert HEADS.turned().turned() == HEADS
