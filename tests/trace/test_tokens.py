"""Which row of what an encoder took in belongs to a beam."""

from __future__ import annotations

from typing import Any

import pytest

from tftrace.trace.tokens import _of_batch


@pytest.mark.parametrize(
    ("sources", "beams", "found"),
    [
        (1, 3, [0, 0, 0]),
        (2, 4, [0, 0, 1, 1]),  # two texts of two beams
        (4, 4, [0, 1, 2, 3]),
        (4, 2, [0, 1]),
        (0, 2, [None, None]),
    ],
)
def test_each_beam_has_the_row_of_its_text(sources: int, beams: int, found: list[int | None]) -> None:
    rows: list[Any] = list(range(sources))
    belongs: list[Any] = [_of_batch(rows, beam, beams) for beam in range(beams)]
    assert belongs == found
    assert _of_batch(rows, max(beams, sources), beams) is None  # no such beam
