"""All heads of a call as small maps, and a table of the attention of every head and layer to the chosen key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message

from ... import describe
from ...language import tr
from ...language.retell import retold
from ...terminal import padded
from ..paint import pictures
from ..paint.heatmap import digits, ink, shade
from ..paint.palette import style
from ..panes.headtiles import even_side, head_map, tile, tile_row, top_key
from ..panes.pane import Pane, first_fitting, short

_SIDES = (32, 24, 16, 12, 8)  # possible sides of a small map in cells, largest first
_AROUND = 3  # rows of the table of layers besides the layers
_CELL = 5  # columns of a number in the table of layers


class HeadGrid(Pane):
    """The heads as small maps; a click chooses one."""

    @dataclass
    class Chosen(Message):
        """A head was clicked."""

        head: int

    def __init__(self) -> None:
        super().__init__("Attention", id="heads")
        self._tiles = (1, 1, 1, 1)  # tiles per row, columns and rows of a tile, cells per side of a map
        self._count = 0

    def clear(self, sentence: str = "") -> None:
        """Show nothing but a sentence."""
        self._count = 0
        super().clear(sentence)

    def show(
        self,
        weights: np.ndarray,
        head: int,
        key: int,
        tokens: list[str],
        layers: list[describe.KeyAttention],
        batch: int,
        position: int,
        count: int,
        effects: Sequence[float] = (),
    ) -> None:
        """Draw the heads with their top keys, and the table of layers.

        Args:
            weights: The weights of one sequence, (heads, queries, keys).
            head: The chosen head.
            key: The chosen key.
            tokens: The tokens of the keys.
            layers: The mean weights of the layers that are ready.
            batch: The chosen sequence of the batch.
            position: Position of the call, which marks its layer.
            count: The number of layers in the end.
            effects: The effect of each head in a sweep, as shares of the largest.
        """
        palette, token = self.palette, tokens[key]
        self._count = len(weights)
        key_means = describe.mean_key_weights(weights[None])[0]
        means = key_means[:, key]
        best = int(means.argmax())
        columns, width, rows, side = self._tiles = self._fitting(len(weights), max(weights.shape[1:]), count)
        lines: list[Text] = []
        drawn: list[pictures.Picture] = []
        for start in range(0, len(weights), columns):
            tiles = []
            for h in range(start, min(start + columns, len(weights))):
                small = head_map(weights[h], side)
                effect = effects[h] if h < len(effects) else None
                said = top_key(key_means[h], tokens, width)
                tiles.append(tile(small, h, h == head, width, palette.name, said, effect))
                place = len(lines) + 1, 2 + (h - start) * width
                size = small.shape[1], (len(small) + 1) // 2
                drawn += pictures.picture(shade(weights[h])[0], palette.name, *place, *size)
            lines += tile_row(tiles, width, rows)
        lines += self._table(layers, key, token, batch, position, head)
        if not layers:
            lines += [
                Text(
                    tr(" most to {token}: head {head} ({mean:.2f})", token=token, head=best, mean=means[best]),
                    style(palette.soft),
                )
            ]
        self.draw(lines, drawn)
        top = head // columns * rows
        self.jump(max(0, min(top, top + rows - self.space.height)))

    def _fitting(self, heads: int, cells: int, layers: int) -> tuple[int, int, int, int]:
        """The largest layout that fits: tiles per row, columns and rows of a tile, cells per side of a map."""
        high = max(self.space.height // 2, self.space.height - layers - _AROUND)
        for largest in _SIDES:
            side = even_side(largest, cells)
            width, rows = max(side, 9) + 2, 2 + (side + 1) // 2
            columns = max(1, (self.space.width - 1) // width)
            if -(-heads // columns) * rows <= high:
                break
        return -(-heads // -(-heads // columns)), width, rows, side  # spread the tiles evenly over the rows

    def _table(
        self, layers: list[describe.KeyAttention], key: int, token: str, batch: int, position: int, head: int
    ) -> list[Text]:
        """The mean weight on the chosen key by layer (down) and head (across), with the largest marked."""
        layers = [one for one in layers if batch < len(one.means) and key < one.means.shape[2]]
        if not layers:
            return []
        palette, room = self.palette, self.space.width - 2
        means = [one.means[batch, :, key] for one in layers]
        top = max(float(row.max()) for row in means)
        label = max(cell_len(retold(one.label)) for one in layers) + 1
        cell = _CELL if len(means[0]) * _CELL <= room - label else _CELL - 1
        across = max(1, (room - label) // cell)
        left = max(0, min(head - across // 2, len(means[0]) - across))
        shown = range(left, min(left + across, len(means[0])))
        token = short(token, 16)
        title = Text(no_wrap=True).append(tr(" mean weight on "), style(palette.soft))
        title.append(token, style(palette.warm, bold=True))
        after = first_fitting(room + 1 - title.cell_len, tr(", by layer and head"), tr(", by head"))
        title.append(after, style(palette.soft))
        head_row = " " * (label + 1) + "".join(f"{n:^{cell}}" for n in shown)
        out = [title, Text(head_row, style(palette.faint), no_wrap=True)]
        for one, row in zip(layers, means, strict=True):
            here = one.position == position
            line = Text("▸" if here else " ", style(palette.warm, bold=True), no_wrap=True)
            line.append(padded(retold(one.label), label), style(palette.text if here else palette.soft, bold=here))
            for at in shown:
                mean = float(row[at])
                text = digits(mean, 3) + ("★" if mean == top else "")
                look = ink(round(mean / (top or 1.0), 2), palette.name)
                line.append(f"{text:^{cell}}", look + style(bold=here and at == head, underline=here and at == head))
            out.append(line)
        best, row = max(zip(layers, means, strict=True), key=lambda pair: float(pair[1].max()))
        head_text = tr("★ {layer}, head {head}", layer=retold(best.label), head=int(row.argmax()))
        said = {"head": head_text, "token": token, "weight": row.max()}
        ways = (
            tr("{head} looks most at {token}: {weight:.2f}", **said),
            tr("{head}: {weight:.2f} on {token}", **said),
        )
        self.border_subtitle = Text(first_fitting(room - 2, *ways, head_text))  # the table may be out of view
        return out

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        columns, width, rows, _ = self._tiles
        head = (offset.y + self.scroll_offset.y) // rows * columns + min((offset.x - 1) // width, columns - 1)
        if 0 <= head < self._count:
            self.post_message(self.Chosen(head))
