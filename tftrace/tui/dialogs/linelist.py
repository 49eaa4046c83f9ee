"""A list of lines to choose from."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import OptionList


class LineList(OptionList):
    """An option list that never wraps, keeps colours under the highlight, and takes `j` and `k` as arrows."""

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
