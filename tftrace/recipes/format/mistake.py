"""Mistakes in recipes: one sentence each, and their place."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import TraceError

Place = tuple[str | int, ...]  # keys, and indices of array items, from the file or an entry inwards


class RecipeError(TraceError):
    """A recipe cannot be understood. The message names the mistake and, if they are known, the file and the equation.

    Attributes:
        column: Where in its text the mistake is, from 1; None if that is not known.
    """

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


class Mistake(NamedTuple):
    """One mistake in an entry: its path, what is wrong, and the column in that text, from 1."""

    path: Place
    message: str
    column: int | None = None
