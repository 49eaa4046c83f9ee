"""A comparison as CSV: one row per pair of tensors."""

from __future__ import annotations

from typing import BinaryIO

from ...compare import Comparison, Place
from ..table import csv_text

_PLACE = ("step", "name", "kind", "type", "file", "line", "tensor", "row", "token")
COLUMNS = (
    "status", "layer", *(f"left_{name}" for name in _PLACE), *(f"right_{name}" for name in _PLACE),
    "difference", "bound", "measured", "note",
)  # fmt: skip


def write(found: Comparison, stream: BinaryIO) -> None:
    """Write the pairs in order. A missing value is an empty cell.

    `measured` is `values`, `prints` (the difference is known to a factor of two or three) or `statistics` (it is at
    least that)."""
    stream.write((",".join(COLUMNS) + "\n").encode())
    for pair in found.tensors:
        how = "prints" if pair.estimated else "values" if pair.measured else "statistics"
        cells = [pair.status, pair.layer, *_place(pair.left), *_place(pair.right)]
        _row(stream, [*cells, pair.difference, pair.bound, how, pair.note])


def _place(place: Place) -> list[object]:
    return [getattr(place, name) for name in _PLACE]


def _row(stream: BinaryIO, cells: list[object]) -> None:
    stream.write((",".join(map(_cell, cells)) + "\n").encode())


def _cell(value: object) -> str:
    if value is None or value == "":
        return ""
    return repr(value) if isinstance(value, (int, float)) else csv_text(str(value))
