"""The tensors of a step as a table: as many columns as the pane has room for, numbers aligned."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from .. import describe
from ..trace import Trace
from .palette import style
from .pane import Pane, fit, fit_end

_NUMBERS = (("μ", "mean"), ("σ", "std"), ("min", "min"), ("max", "max"))
_SHORTEST = 10  # columns a name keeps when numbers need the room


class TensorPane(Pane):
    """What a call took, holds and returned; on a line, every name bound so far in its call."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("Tensors", id="tensors")
        self._trace = trace
        self._position = 0

    def on_resize(self) -> None:
        self.show(self._position)

    def show(self, position: int) -> None:
        """Show the tensors of the step at `position`."""
        self._position = position
        found = describe.tensors(self._trace, position)
        self.headline("Tensors", f"{len(found)}" if found else "")
        if not found:
            self.draw([Text(""), Text("  No tensors here.", style(self.palette.faint))])
            return
        room = self.space.width - 4
        sizes = self._widths(found, room)
        self.draw([self._head(sizes), *(line for one in found for line in self._lines(one, sizes, room))])

    def _widths(self, found: list[describe.Line], room: int) -> dict[str, int]:
        """A column's width, 0 where there is no room for it: names and shapes first, then numbers, then types."""
        sizes = {"shape": min(20, _widest("shape", found, 5))}
        name = _widest("name", found)
        left = room - sizes["shape"] - 2
        for keys in (("min", "max"), ("mean", "std"), ("dtype",)):
            wanted = [_widest(key, found) + 2 for key in keys]
            fits = left - sum(wanted) >= (name if keys == ("dtype",) else min(name, _SHORTEST))
            sizes |= dict(zip(keys, wanted if fits else [0] * len(keys), strict=True))
            left -= sum(wanted) if fits else 0
        sizes["name"] = max(4, min(name, left))
        return sizes

    def _head(self, sizes: dict[str, int]) -> Text:
        head = "    " + fit("name", sizes["name"]) + "  " + fit("shape", sizes["shape"])
        head += "".join(f"{title:>{sizes[key]}}" for title, key in _NUMBERS if sizes[key])
        head += f"  {'dtype':<{sizes['dtype'] - 2}}" if sizes["dtype"] else ""
        return Text(head, style(self.palette.faint), no_wrap=True)

    def _lines(self, one: describe.Line, sizes: dict[str, int], room: int) -> list[Text]:
        palette = self.palette
        role = palette.roles.get(one.role, palette.text)
        out = Text(no_wrap=True)
        out.append(f"  {describe.ROLE_MARKS.get(one.role, '?')} ", style(role, bold=True))
        out.append(fit_end(one.name, sizes["name"]), style(role if one.fresh else palette.soft, bold=one.fresh))
        out.append("  " + fit(one.shape, sizes["shape"]), style(palette.text if one.fresh else palette.soft))
        look = style(palette.text if one.fresh else palette.soft)
        for _, key in _NUMBERS:
            if sizes[key]:
                out.append(f"{getattr(one, key):>{sizes[key]}}", look)
        if sizes["dtype"]:
            out.append("  " + one.dtype, style(palette.faint))
        if not one.odd or out.cell_len + 2 + cell_len(one.odd) <= room:
            out.append(f"  {one.odd}", self._alarm(one))
            return [out]
        return [out, Text(f"      {one.odd}", self._alarm(one))]

    def _alarm(self, one: describe.Line) -> Style:
        bad = "NaN" in one.odd or "Inf" in one.odd
        return style(self.palette.bad if bad else self.palette.faint, bold=bad)


def _widest(key: str, found: list[describe.Line], least: int = 4) -> int:
    return max(least, *(cell_len(getattr(one, key)) for one in found))
