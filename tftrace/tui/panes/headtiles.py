"""Attention heads as small maps side by side, also as a preview below the tensors of an attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.text import Text
from textual.message import Message
from textual.timer import Timer

from ... import describe
from ...explain import attention_weights
from ...language import tr
from ...trace.trace import Trace
from ..paint.heatmap import digits, half_blocks, ink, shade
from ..paint.palette import PALETTES, style
from .pane import fit, short
from .tensordetail import DetailPane

_REST = 0.1  # seconds without a key before attention is rebuilt
_CELLS = 1 << 21  # a larger attention is rebuilt only on request
_SIDE = 32  # cells per side of a cached map
_KEPT = 32  # attentions in the cache
_LEAST = 5  # rows that a preview needs at least
_WORDS = 9  # columns for a head's top token and its weight


def even_side(side: int, cells: int) -> int:
    """The largest multiple of `cells` up to `side`, so that all cells have the same size; `side` if none fits."""
    return side // cells * cells if 0 < cells <= side else side


def head_map(weights: np.ndarray, side: int) -> np.ndarray:
    """The weights of a head, (queries, keys), as a map in [-1, 1] with at most `side` cells per side."""
    small = shade(describe.shrink(weights, side, side))[0]
    small = small.repeat(max(1, side // len(small)), axis=0)
    return small.repeat(max(1, side // small.shape[1]), axis=1)


def tile(
    small: np.ndarray, head: int, chosen: bool, width: int, palette_name: str, text: str, effect: float | None = None
) -> list[Text]:
    """One head as lines of `width` columns: its number, its map, and the text below.

    With its effect in a sweep, as a share of the largest, the number stands on the colour of that."""
    palette = PALETTES[palette_name]
    title = ("▸" if chosen else " ") + tr("head {n}", n=head)
    if effect is not None:
        title = f"{title} {effect:+.0%}"
    colour = (
        style(palette.warm if chosen else palette.soft, bold=chosen) if effect is None else ink(effect, palette_name)
    )
    out = [Text(fit(title, width - 1), colour, no_wrap=True).append(" ", style())]
    for line in half_blocks(small, palette_name):
        out.append(Text(" ").append_text(line).append(" " * max(0, width - 1 - line.cell_len)))
    out.append(Text(fit(f" {text}", width), style(palette.text if chosen else palette.soft), no_wrap=True))
    return out


def top_key(means: np.ndarray, tokens: Sequence[str], width: int) -> str:
    """The key with the largest mean weight as text of at most `width` columns, such as `.42 cat`."""
    at = int(means.argmax())
    return f"{digits(float(means[at]), 3)} {short(tokens[at], width - 6)}"


def tile_row(tiles: Sequence[list[Text]], width: int, rows: int) -> list[Text]:
    """Tiles of `width` columns side by side, as `rows` lines."""
    padded = [[*one, *(Text(" " * width) for _ in range(rows - len(one)))] for one in tiles]
    return [Text(" ").append_text(Text("").join(parts)) for parts in zip(*padded, strict=True)]


def labels(rows: Sequence[Sequence[str]], text: int, size: int) -> list[str]:
    """The tokens of sequence `text` along an axis of `size`; numbers if they are not known."""
    row = rows[text] if text < len(rows) else []
    return [*row] if len(row) == size else [str(n) for n in range(size)]


@dataclass(frozen=True, eq=False)
class Preview:
    """The preview of an attention's first sequence: a map per head, mean weights (heads, keys), and key tokens."""

    maps: list[np.ndarray]
    means: np.ndarray
    tokens: list[str]


class PreviewPane(DetailPane):
    """Adds a preview of the attention heads below the chosen tensor."""

    @dataclass
    class Heads(Message):
        """The preview of an attention is ready; None if it cannot be rebuilt."""

        attention: int
        small: Preview | None

    def __init__(self, trace: Trace, title: str, *, id: str) -> None:
        super().__init__(trace, title, id=id)
        self._small: dict[int, Preview | None] = {}
        self._heads_rest: Timer | None = None

    def detail(self) -> list[Text]:
        """The lines on the chosen tensor, and the preview if there is room."""
        known = super().detail()
        used = 1 + len(describe.tensors(self._trace, self._position)) + len(known)
        return [*known, *self._preview(self.space.height - used)]

    def _preview(self, room: int) -> list[Text]:
        at = describe.attention_of(self._trace, self._position)
        if at is None:
            return []
        if at not in self._small:
            self._ask_heads(at)
            return []
        found, palette = self._small[at], self.palette
        if found is None or room < _LEAST:
            return []
        side = even_side(min(2 * (room - 2), _SIDE, self.space.width // 2 - 2), max(found.maps[0].shape))
        width = max(side, _WORDS) + 2
        across = max(1, (self.space.width - 2) // width)
        tiles = [
            tile(head_map(one, side), head, False, width, palette.name, top_key(means, found.tokens, width))
            for head, (one, means) in enumerate(zip(found.maps[:across], found.means, strict=False))
        ]
        return tile_row(tiles, width, 2 + (side + 1) // 2)

    def _ask_heads(self, at: int) -> None:
        if self._heads_rest is not None:
            self._heads_rest.stop()
        inputs = [row.shape for row in self._trace.tensors_of(at) if len(row.shape) == 4][:2]
        if len(inputs) == 2 and inputs[0][0] * inputs[0][1] * inputs[0][2] * inputs[1][2] <= _CELLS:
            self._heads_rest = self.set_timer(_REST, partial(self._start_heads, at))

    def _start_heads(self, at: int) -> None:
        self.run_worker(partial(self._read_heads, at), thread=True, exclusive=True, group="heads", exit_on_error=False)

    def _read_heads(self, at: int) -> None:
        found = attention_weights.attention(self._trace, at)
        small = None
        if found is not None and found.probabilities is not None:
            weights = found.probabilities[:1]
            tokens = labels(found.key_tokens, 0, weights.shape[3])
            maps = [describe.shrink(one, _SIDE, _SIDE) for one in weights[0]]
            small = Preview(maps, describe.mean_key_weights(weights)[0], tokens)
        self.post_message(self.Heads(at, small))

    def on_preview_pane_heads(self, event: Heads) -> None:
        if len(self._small) >= _KEPT:
            self._small.clear()
        self._small[event.attention] = event.small
        if describe.attention_of(self._trace, self._position) == event.attention:
            self.show(self._position)
