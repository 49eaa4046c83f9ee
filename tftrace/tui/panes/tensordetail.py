"""Details on the chosen tensor: its axes, its histogram, and its norm from layer to layer and from token to token.

Values are read from disk in a thread, once no key has been pressed for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual.message import Message
from textual.timer import Timer

from ... import describe
from ...language import later, tr
from ...language.retell import retold
from ...navigate.value_advice import advice
from ...terminal import padded
from ...text import number
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import Pane, first_fitting, short

_REST = 0.08  # seconds without a key before values are read
_READ = 64 << 20  # bytes; the values of larger tensors are not read
_KEPT = 256  # histograms in the cache
_BINS = 40
_STATISTIC = "l2"


class DetailPane(Pane):
    """The part of the tensor pane below the table."""

    @dataclass
    class Read(Message):
        """The histogram of the values kept at `place` is ready."""

        place: str
        histogram: describe.Histogram | None

    def __init__(self, trace: Trace, title: str, *, id: str) -> None:
        super().__init__(title, id=id)
        self._trace = trace
        self._position = 0
        self._histograms: dict[str, describe.Histogram | None] = {}
        self._rest: Timer | None = None

    @property
    def chosen(self) -> describe.TensorLine | None:
        """The tensor that keys act on."""
        raise NotImplementedError

    def show(self, position: int) -> None:
        """Show the tensors of the step at `position`."""
        raise NotImplementedError

    def detail(self) -> list[Text]:
        """The lines below the table; values not read yet are requested."""
        one = self.chosen
        if one is None:
            return []
        palette, room = self.palette, max(10, self.space.width - 4)
        names = describe.axes(self._trace, self._position, one.row)
        text = "  ".join(f"{name}={size}" for name, size in zip(names, one.row.shape, strict=True))
        title = Text("  ", no_wrap=True).append(short(one.name, room // 2), style(palette.text, bold=True))
        title.append(f"  {text}", style(palette.blue))
        size = f"  {one.dtype} {_bytes(one.row.nbytes)}"
        title.append(size if title.cell_len + cell_len(size) <= room else "", style(palette.faint))
        return [Text(""), title, *self._histogram(one, room), *self._series(one, room), *self._keys(one)]

    def _keys(self, one: describe.TensorLine) -> list[Text]:
        why = retold(advice(self._trace, one.row))
        keys = tr("  v values  x explain") if one.row.value else tr("  not kept whole: {why}", why=why)
        heads = tr("  a attention") if describe.attention_of(self._trace, self._position) is not None else ""
        flow = tr("  p from  o to")
        text = first_fitting(self.space.width, keys + heads + flow, keys + heads, keys)
        return [Text(text, style(self.palette.faint), no_wrap=True)]

    def _histogram(self, one: describe.TensorLine, room: int) -> list[Text]:
        palette, place = self.palette, one.row.value
        if place is None:
            return []
        if place not in self._histograms:
            self._ask(one)
            return [Text(""), Text("")] if one.row.nbytes <= _READ else []
        found = self._histograms[place]
        if found is None:
            return []
        width = min(_BINS, room - 22)
        counts = np.add.reduceat(found.counts, np.linspace(0, _BINS, width + 1).astype(int)[:-1]) if width > 4 else None
        if counts is None:
            return []
        rows = describe.tall_bars(counts, 2)
        low, high = f"{number(found.low):>9}", number(found.high)
        return [
            Text.assemble((" " * 12, ""), (rows[0], style(palette.accent)), no_wrap=True),
            Text.assemble(
                (f"  {low} ", style(palette.soft)), (rows[1], style(palette.accent)), (f" {high}", style(palette.soft))
            ),
        ]

    def _series(self, one: describe.TensorLine, room: int) -> list[Text]:
        out = []
        for title, found in (
            (later("layers"), describe.along_layers(self._trace, one.at, one.row, _STATISTIC)),
            (later("forwards"), describe.along_forwards(self._trace, one.at, one.row, _STATISTIC)),
        ):
            if found is None:
                continue
            width = max(8, room - 34)
            left = max(0, min(found.here - width // 2, len(found.values) - width))
            shown = slice(left, left + width)
            values = [value for value in found.values if value is not None]
            line = Text(f"  {padded(tr(title), 9)} ", style(self.palette.faint), no_wrap=True)
            drawn = Text(describe.bars(found.values[shown], 0.0), style(self.palette.blue))
            if found.here >= left:
                drawn.stylize(style(self.palette.warm, underline=True), found.here - left, found.here - left + 1)
            line.append_text(drawn)
            if values:
                label = f"{retold(found.labels[found.here])}: " if found.here >= 0 else ""
                here = number(one.row.l2)
                brief = f" ‖·‖ {label}{here}"
                full = tr("{said}, {low} to {high}", said=brief, low=number(min(values)), high=number(max(values)))
                line.append(first_fitting(self.space.width - line.cell_len, full, brief), style(self.palette.soft))
            out.append(line)
        return out

    # -- reading, in a thread ------------------------------------------------------------------------------

    def _ask(self, one: describe.TensorLine) -> None:
        """Read the values after a pause; a new request restarts the pause."""
        if self._rest is not None:
            self._rest.stop()
        if one.row.nbytes <= _READ:
            self._rest = self.set_timer(_REST, partial(self._start, one))

    def _start(self, one: describe.TensorLine) -> None:
        self.run_worker(partial(self._read, one), thread=True, exclusive=True, group="values", exit_on_error=False)

    def _read(self, one: describe.TensorLine) -> None:
        values = describe.kept_values(self._trace, one.row)
        found = describe.histogram(values, _BINS) if values is not None else None
        self.post_message(self.Read(one.row.value or "", found))

    def on_detail_pane_read(self, event: Read) -> None:
        if len(self._histograms) >= _KEPT:
            self._histograms.clear()
        self._histograms[event.place] = event.histogram
        if self.chosen is not None and self.chosen.row.value == event.place:
            self.show(self._position)


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
