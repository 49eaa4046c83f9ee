"""The tensors of a step as a table, with details on the chosen one below."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from ... import describe
from ...language import later, tr
from ...terminal import padded
from ...trace.trace import Trace
from ..paint.heatmap import short_number
from ..paint.palette import style
from .headtiles import PreviewPane
from .pane import fit, fit_end, short

_NUMBERS = (("μ", "mean", 7), ("σ", "std", 6), (later("min"), "min", 7), (later("max"), "max", 7))  # with their widths
_LIKELIEST = (("min", "max"), ("mean", "std"))  # numbers that a narrow pane shows, the first pair longest
_DTYPE = 10
_SHORTEST, _SHAPE, _LONG_SHAPE = 13, 11, 15  # columns of a name with its letter, and of a shape
_HEAD_STAYS = 4  # from this height in rows
_SPARE = 22  # from this width of a name on, a shape is given more room


class TensorPane(PreviewPane):
    """Inputs, parameters and results of a call; for a line, every variable bound so far in its call."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", show=False),
        Binding("down", "choose(1)", show=False),
        Binding("enter", "app.values", show=False),
    ]

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace, "Tensors", id="tensors")
        self._found: list[describe.TensorLine] = []
        self._symbols: dict[int, describe.TensorSymbol] = {}
        self._picked: tuple[str, str] | None = None  # role and name of the user's choice, for all steps
        self._rows: list[int] = []  # index of the tensor in each drawn row, -1 for none

    @property
    def chosen(self) -> describe.TensorLine | None:
        """The tensor that keys act on: the user's choice, else the step's result, else the last tensor."""
        return self._found[at] if (at := self._chosen_at) >= 0 else None

    @property
    def _chosen_at(self) -> int:
        keys = [(one.row.role, one.row.name) for one in self._found]
        if self._picked in keys:
            return keys.index(self._picked)
        fresh = [at for at, one in enumerate(self._found) if one.fresh and one.role != "parameter"]
        return fresh[-1] if fresh else len(keys) - 1

    def action_choose(self, rows: int) -> None:
        """Choose the tensor `rows` further, wrapping around."""
        if self._found:
            at = (self._chosen_at + rows) % len(self._found)
            self._picked = (self._found[at].row.role, self._found[at].row.name)
            self.show(self._position)

    def pick(self, tensor: int) -> None:
        """Choose the tensor with this number, if the step has it."""
        found = next((one for one in self._found if one.row.tensor == tensor), None)
        if found is not None:
            self._picked = (found.row.role, found.row.name)
            self.show(self._position)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        at = offset.y + self.scroll_offset.y if offset is not None else -1
        if offset is not None and offset.y == 0 and self._head_stays:
            return
        if 0 <= at < len(self._rows) and self._rows[at] >= 0:
            self.action_choose(self._rows[at] - self._chosen_at)

    def on_resize(self) -> None:
        self.show(self._position)

    def show(self, position: int) -> None:
        """Show the tensors of the step at `position`."""
        self._position = position
        self._found = found = describe.tensors(self._trace, position)
        self._symbols = describe.symbols_of_tensors(self._trace, position)
        self.headline("Tensors", f"{len(found)}" if found else "")
        if not found:
            self._rows = []
            self.draw([Text(""), Text("  " + tr("No tensors here."), style(self.palette.faint))])
            return
        room = self.space.width - 4
        sizes = _widths(room)
        lines, self._rows = [self._head(sizes)], [-1]
        for at, one in enumerate(found):
            drawn = self._lines(one, sizes, room, at == self._chosen_at)
            lines += drawn
            self._rows += [at] * len(drawn)
        self.draw([*lines, *self.detail()])
        self._keep_in_view()

    def _keep_in_view(self) -> None:
        """Scroll just far enough to show the chosen tensor."""
        if (at := self._chosen_at) in self._rows:
            self.jump(max(0, self._rows.index(at) + 1 - self.space.height))

    @property
    def _head_stays(self) -> bool:
        """Whether the names of the columns stay while the table is scrolled: not where there is hardly room."""
        return self.space.height >= _HEAD_STAYS

    def line(self, y: int) -> Strip:
        """Line `y` of the table, whose first line stays in view."""
        return super().line(0 if self._head_stays and y == int(self.scroll_offset.y) else y)

    def _head(self, sizes: dict[str, int]) -> Text:
        head = "    " + fit(tr("name"), sizes["name"]) + "  " + fit(tr("shape"), sizes["shape"])
        head += "".join(padded(tr(title), -sizes[key]) for title, key, _ in _NUMBERS if sizes[key])
        head += f"  {'dtype':<{sizes['dtype'] - 2}}" if sizes["dtype"] else ""
        return Text(head, style(self.palette.faint), no_wrap=True)

    def _lines(self, one: describe.TensorLine, sizes: dict[str, int], room: int, chosen: bool) -> list[Text]:
        palette = self.palette
        role = palette.roles.get(one.role, palette.text)
        symbol = self._symbols.get(one.row.tensor)
        hue = palette.hue(symbol.number) if symbol and symbol.letter else ""
        out = Text(no_wrap=True)
        out.append("▸" if chosen else " ", style(palette.warm, bold=True))
        out.append(f" {describe.ROLE_MARKS.get(one.role, '?')} ", style(role, bold=True))
        left = sizes["name"]
        if symbol and symbol.letter and symbol.letter != one.name:
            said = short(symbol.letter, left // 2)
            out.append(f"{said} ", style(hue, bold=True))
            left -= cell_len(said) + 1
        out.append(fit_end(one.name, left), style(hue or (role if one.fresh else palette.soft), bold=one.fresh))
        out.append("  " + fit(one.shape, sizes["shape"]), style(palette.text if one.fresh else palette.soft))
        look = style(palette.text if one.fresh else palette.soft)
        for _, key, _ in _NUMBERS:
            if sizes[key]:
                text = _brief(getattr(one, key), getattr(one.row, key), sizes[key] - 1)
                out.append(f"{text:>{sizes[key]}}", look)
        if sizes["dtype"]:
            out.append("  " + short(one.dtype, sizes["dtype"] - 2), style(palette.faint))
        lines = [out]
        if one.odd and out.cell_len + 2 + cell_len(one.odd) <= room:
            out.append(f"  {one.odd}", self._alarm(one))
        elif one.odd:
            lines.append(Text(f"      {one.odd}", self._alarm(one)))
        if chosen:
            for line in lines:
                line.append(" " * max(0, self.space.width - line.cell_len))
                line.stylize(style(ground=palette.raised))
        return lines

    def _alarm(self, one: describe.TensorLine) -> Style:
        bad = "NaN" in one.odd or "Inf" in one.odd
        return style(self.palette.bad if bad else self.palette.faint, bold=bad)


def _widths(room: int) -> dict[str, int]:
    """The width of each column, 0 if it does not fit. It depends on the pane alone, so that no column ever moves."""
    sizes = {"shape": _SHAPE, "dtype": 0, **{key: 0 for _, key, _ in _NUMBERS}}
    left = room - _SHAPE - 2
    for pair in _LIKELIEST:
        wanted = {key: width for _, key, width in _NUMBERS if key in pair}
        if left - sum(wanted.values()) < _SHORTEST:
            break
        sizes |= wanted
        left -= sum(wanted.values())
    if left >= _SPARE + _LONG_SHAPE - _SHAPE:
        sizes["shape"] = _LONG_SHAPE
        left -= _LONG_SHAPE - _SHAPE
    if left - _DTYPE >= _SPARE:
        sizes["dtype"] = _DTYPE
        left -= _DTYPE
    return sizes | {"name": max(4, left)}


def _brief(text: str, value: float | None, width: int) -> str:
    """A number in at most `width` characters, with as many digits as there is room for."""
    return text if len(text) <= width or value is None else short_number(value, width)
