"""The base of the screens of numbers: keys choose a cell of a table, which can be explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from ... import describe
from .explainscreen import ExplainScreen

_PAGE, _ALL = 20, 999_999_999


class CellScreen(Screen[int | None]):
    """A screen with a table of cells; dismissed with the position to go to, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"cell({rows}, {columns})", show=False, priority=True)
        for key, rows, columns in (
            ("up,k", -1, 0),
            ("down,j", 1, 0),
            ("left", 0, -1),
            ("right", 0, 1),
            ("home", 0, -_ALL),
            ("end", 0, _ALL),
            ("pageup", -_PAGE, 0),
            ("pagedown", _PAGE, 0),
        )
    ]
    DEFAULT_CSS = """
    CellScreen { background: $background; }
    CellScreen CellMap { width: 1fr; }
    CellScreen Static { height: auto; max-height: 4; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Redraw everything."""
        raise NotImplementedError

    def explain(self, title: str, work: Callable[[], describe.Derivation]) -> None:
        """Show the derivation of a cell; choosing one of its terms goes to the step of that term."""
        self.app.push_screen(ExplainScreen(title, work), self._explained)

    def _explained(self, position: int | None) -> None:
        if position is not None:
            self.dismiss(position)
