"""The tensors of a step as a table, with details on the chosen one below."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType

from ... import describe
from ...trace.trace import Trace
from ..paint.palette import style
from .headtiles import PreviewPane
from .pane import fit, fit_end

_NUMBERS = (("μ", "mean"), ("σ", "std"), ("min", "min"), ("max", "max"))
_SHORTEST = 10  # columns that a name keeps when space is short


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
        self._symbols: dict[int, tuple[str, int]] = {}
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
            self.draw([Text(""), Text("  No tensors here.", style(self.palette.faint))])
            return
        room = self.space.width - 4
        sizes = self._widths(found, room)
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

    def _widths(self, found: list[describe.TensorLine], room: int) -> dict[str, int]:
        """The width of each column, 0 if it does not fit: names and shapes first, then numbers, then dtypes."""
        symbols = [self._symbols[one.row.tensor][0] for one in found if one.row.tensor in self._symbols]
        sizes = {"shape": min(20, _widest("shape", found, 5)), "symbol": max(map(cell_len, symbols), default=0)}
        name = _widest("name", found)
        left = room - sizes["shape"] - 2 - (sizes["symbol"] + 1 if sizes["symbol"] else 0)
        for keys in (("min", "max"), ("mean", "std"), ("dtype",)):
            wanted = [_widest(key, found) + 2 for key in keys]
            fits = left - sum(wanted) >= (name if keys == ("dtype",) else min(name, _SHORTEST))
            sizes |= dict(zip(keys, wanted if fits else [0] * len(keys), strict=True))
            left -= sum(wanted) if fits else 0
        sizes["name"] = max(4, min(name, left))
        return sizes

    def _head(self, sizes: dict[str, int]) -> Text:
        symbol = " " * (sizes["symbol"] + 1) if sizes["symbol"] else ""
        head = "    " + symbol + fit("name", sizes["name"]) + "  " + fit("shape", sizes["shape"])
        head += "".join(f"{title:>{sizes[key]}}" for title, key in _NUMBERS if sizes[key])
        head += f"  {'dtype':<{sizes['dtype'] - 2}}" if sizes["dtype"] else ""
        return Text(head, style(self.palette.faint), no_wrap=True)

    def _lines(self, one: describe.TensorLine, sizes: dict[str, int], room: int, chosen: bool) -> list[Text]:
        palette = self.palette
        role = palette.roles.get(one.role, palette.text)
        symbol = self._symbols.get(one.row.tensor)
        name = palette.hue(symbol[1]) if symbol else role
        out = Text(no_wrap=True)
        out.append("▸" if chosen else " ", style(palette.warm, bold=True))
        out.append(f" {describe.ROLE_MARKS.get(one.role, '?')} ", style(role, bold=True))
        if sizes["symbol"]:
            out.append(f"{symbol[0] if symbol else '':<{sizes['symbol']}} ", style(name, bold=True))
        out.append(fit_end(one.name, sizes["name"]), style(name if one.fresh else palette.soft, bold=one.fresh))
        out.append("  " + fit(one.shape, sizes["shape"]), style(palette.text if one.fresh else palette.soft))
        look = style(palette.text if one.fresh else palette.soft)
        for _, key in _NUMBERS:
            if sizes[key]:
                out.append(f"{getattr(one, key):>{sizes[key]}}", look)
        if sizes["dtype"]:
            out.append("  " + one.dtype, style(palette.faint))
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


def _widest(key: str, found: list[describe.TensorLine], least: int = 4) -> int:
    return max(least, *(cell_len(getattr(one, key)) for one in found))
