"""A list of lines to choose one from, in a window over the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import OptionList


class LineList(OptionList):
    """A line is never wrapped, keeps its colours where it is chosen, and `j` and `k` go as the arrows do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]
    DEFAULT_CSS = """
    LineList, LineList:focus {
        height: auto; background: $background; background-tint: $foreground 0%; scrollbar-size: 1 1; padding: 0;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    LineList > .option-list--option-highlighted, LineList:focus > .option-list--option-highlighted {
        background: $panel; color: $foreground; text-style: none;
    }
    """
