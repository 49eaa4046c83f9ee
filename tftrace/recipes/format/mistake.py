"""What is wrong with a recipe: said in one sentence, with its place in the entry."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import TraceError

Place = tuple[str | int, ...]  # keys and numbers of array items, from the file or an entry inwards


class RecipeError(TraceError):
    """A recipe that cannot be understood; the message names the file, the equation and the mistake, and `column` where
    in a text it is, if that is known."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


class Mistake(NamedTuple):
    """One mistake in an entry: where in it, what, and the column in that text."""

    path: Place
    message: str
    column: int | None = None
