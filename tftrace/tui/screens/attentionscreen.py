"""Attention maps: all heads small, the chosen one large with tokens as axes, and the attention to the chosen key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

from ... import describe
from ...errors import TraceError
from ...explain import attention_triangle, attention_weights
from ...language import later, tr
from ...language.retell import retold
from ...text import visible
from ...trace.trace import Trace
from ...what_if import Effects
from ..dialogs.edit_choice import EditAsked, Target
from ..dialogs.share_choice import Share
from ..paint.heatmap import digits
from ..paint.palette import DARK, PALETTES, style
from ..panes.headtiles import labels
from ..panes.pane import first_fitting, short
from ..share.attention_picture import attention_svg
from ..share.picture_files import page
from .cellscreen import CellScreen
from .celltable import CellMap, Cells
from .headgrid import HeadGrid

_KEYS = later(
    "↑↓ query   ←→ key   h H head   { } layer   b text   x explain   ! what if   Enter the line   P share   Esc back"
)
_KEYS_BRIEF = later("↑↓←→ cell  h H head  { } layer  b text  x explain  ⏎ line  P share  Esc back")
_TOGETHER = later("g all forwards")
_APART = later("g one forward")


class AttentionScreen(CellScreen):
    """The attention maps of one call; dismissed with the position to go to, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, show=False, priority=True)
        for key, action in (
            ("h,tab", "head(1)"),
            ("H,shift+tab", "head(-1)"),
            ("right_curly_bracket,right_square_bracket", "layer(1)"),
            ("left_curly_bracket,left_square_bracket", "layer(-1)"),
            ("b", "batch"),
            ("g", "together"),
            ("enter", "line"),
            ("x", "explain"),
            ("exclamation_mark", "try"),
            ("escape,a,q,ctrl+c,backspace", "dismiss"),
        )
    ]
    DEFAULT_CSS = """
    AttentionScreen #maps { height: 1fr; }
    AttentionScreen HeadGrid { width: 38%; min-width: 30; max-width: 72; }
    """

    @dataclass
    class Ready(Message):
        """The weights of a call are ready, or a reason why there are none."""

        position: int
        attention: attention_weights.Attention | None
        joined: bool  # whether it is that of all forwards
        rows: list[list[int]] | None  # of all forwards in one map: for each text the call of each row

    @dataclass
    class Counted(Message):
        """The mean weights of one layer per head and key are ready."""

        found: describe.KeyAttention

    def __init__(self, trace: Trace, position: int) -> None:
        super().__init__()
        self._trace = trace
        self._layers = describe.sibling_attentions(trace, position)
        self.position = position
        self.attention: attention_weights.Attention | None = None
        self.at_head, self.at_text, self.at_query, self.at_key = 0, 0, 0, 0
        self._key_attention: dict[int, describe.KeyAttention] = {}
        self._message = tr("Rebuilding the weights …")
        self._together = attention_triangle.calls_of_generation(trace, position) is not None
        self._joined = False  # whether the rows of all forwards are asked for
        self._rows: list[list[int]] | None = None
        self._begun = False  # whether a cell was chosen
        self._effects: Effects | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="maps"):
            yield HeadGrid()
            yield CellMap(id="head")
        yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        self._load()
        self.run_worker(self._count, thread=True, group="count", exit_on_error=False)

    # -- rebuilding, in a thread ---------------------------------------------------------------------------

    def _load(self) -> None:
        self.run_worker(
            partial(self._rebuild, self.position, self._joined),
            thread=True,
            exclusive=True,
            group="weights",
            exit_on_error=False,
        )

    def _rebuild(self, position: int, joined: bool) -> None:
        found = attention_triangle.triangle(self._trace, position) if joined else None
        if isinstance(found, attention_triangle.Triangle):
            self.post_message(self.Ready(position, found.attention, True, found.positions))
        else:
            alone = found or attention_weights.attention(self._trace, position)
            self.post_message(self.Ready(position, alone, joined, None))

    def _count(self) -> None:
        """Summarise the heads of every layer, with one layer in memory at a time."""
        for position in self._layers:
            found = attention_weights.attention(self._trace, position)
            if not self.is_attached:
                return
            if found is not None and found.probabilities is not None:
                self.post_message(self.Counted(describe.key_attention(self._trace, position, found.probabilities)))

    def on_attention_screen_ready(self, event: Ready) -> None:
        if event.position != self.position or event.joined != self._joined:
            return
        self.attention, self._rows = event.attention, event.rows
        found = self.attention
        if found is None or found.probabilities is None:
            self._message = found.reason if found else tr("There is no attention here.")
        else:
            self._message = ""
            batch, heads, *_ = found.probabilities.shape
            self.at_head, self.at_text = min(self.at_head, heads - 1), min(self.at_text, batch - 1)
            weights = self.weights
            assert weights is not None
            if not self._begun:
                self.at_head, self.at_query, self.at_key = describe.strongest_cell(weights)
                self._begun = True
            self._clamp(weights)
        self.redraw()

    def _clamp(self, weights: np.ndarray) -> None:
        """Keep the chosen cell within the map."""
        _, queries, keys = weights.shape
        self.at_query, self.at_key = min(self.at_query, queries - 1), min(self.at_key, keys - 1)

    def on_attention_screen_counted(self, event: Counted) -> None:
        self._key_attention[event.found.position] = event.found
        self.redraw()

    # -- keys ---------------------------------------------------------------------------------------------

    @property
    def weights(self) -> np.ndarray | None:
        """The weights of the chosen sequence, (heads, queries, keys)."""
        found = self.attention.probabilities if self.attention else None
        if found is None:
            return None
        return found[self.at_text] if self._rows is None else found[self.at_text, :, : len(self._rows[self.at_text])]

    def action_cell(self, rows: int, columns: int) -> None:
        if (weights := self.weights) is not None:
            _, queries, keys = weights.shape
            self.at_query = max(0, min(self.at_query + rows, queries - 1))
            self.at_key = max(0, min(self.at_key + columns, keys - 1))
            self.redraw()

    def action_head(self, heads: int) -> None:
        if (weights := self.weights) is not None:
            self.at_head = (self.at_head + heads) % len(weights)
            self.redraw()

    def action_layer(self, layers: int) -> None:
        at = self._layers.index(self.position) + layers if self.position in self._layers else -1
        if 0 <= at < len(self._layers):
            self.position = self._layers[at]
            self._load()

    def action_batch(self) -> None:
        if self.attention and self.attention.probabilities is not None:
            self.at_text = (self.at_text + 1) % len(self.attention.probabilities)
            if (weights := self.weights) is not None:
                self._clamp(weights)
            self.redraw()

    def action_together(self) -> None:
        """Lay the rows of all forwards into one map, or show this forward alone again."""
        if self._together:
            self._joined, self._begun = not self._joined, False
            self._load()

    def action_line(self) -> None:
        """Go to the line that computes the scores."""
        self.dismiss(self._scores_at)

    @property
    def _at(self) -> int:
        """Position of the call that computed the chosen row."""
        return self.position if self._rows is None else self._rows[self.at_text][self.at_query]

    @property
    def _scores_at(self) -> int:
        score = next(one for one in describe.substeps(self._trace, self._at) if one.key == "score")
        return score.places[0] if score.places else self._at

    def action_explain(self) -> None:
        if self.attention is not None and self.weights is not None:
            keys, queries = self.tokens(True), self.tokens(False)
            where = (self.at_text, self.at_head, self.at_query, self.at_key)
            work = partial(describe.derive_weight, self.attention, self._at, *where, keys)
            query, key = queries[self.at_query], keys[self.at_key]
            title = tr("{query} looks at {key}, head {head}", query=query, key=key, head=self.at_head)
            self.explain(title, work)

    def action_try(self) -> None:
        """Change the chosen head, all of it or for the chosen query."""
        if self.weights is not None:
            head, token = {"head": self.at_head}, self.tokens(False)[self.at_query]
            named = tr("head {n}", n=self.at_head)
            there = [Target(named, head)]
            if self._rows is None:
                there.append(
                    Target(f"{named}, {tr('token {n}', n=self.at_query)} “{token}”", head | {"token": self.at_query})
                )
            self.app.post_message(EditAsked(self._at, there))

    def colour(self, found: Effects) -> None:
        """Colour the heads by the effects of a sweep."""
        self._effects = found
        self.redraw()

    def _head_effects(self) -> list[float]:
        """The effect of each head of this attention, as shares of the largest of all; none without a sweep."""
        if self._effects is None:
            return []
        name = f"{self._trace.column('name')[self.position] or ''}."
        own = [one for one in self._effects.effects if name.startswith(f"{one.name}.")]
        most = max((abs(one.effect) for one in self._effects.effects), default=0.0) or 1.0
        return [one.effect / most for one in own]

    def share(self, name: str) -> Share | None:
        """The map of the chosen head, to be shared."""
        if (weights := self.weights) is None:
            return None
        maps = [(f"head {self.at_head}", weights[self.at_head])]
        where = f"{describe.layer_label(self._trace, self.position)}, head {self.at_head}"
        ways = _ways(partial(attention_svg, maps, self.tokens(False), self.tokens(True), where, self.app.theme), where)
        label = describe.layer_label(self._trace, self.position).replace(" ", "")
        return Share(tr("the attention map"), f"{name}-{label}-head{self.at_head}", ways)

    def on_head_grid_chosen(self, event: HeadGrid.Chosen) -> None:
        self.at_head = event.head
        self.redraw()

    def on_cell_map_chosen(self, event: CellMap.Chosen) -> None:
        self.at_query, self.at_key = event.row, event.column
        self.redraw()

    # -- drawing --------------------------------------------------------------------------------------------

    def tokens(self, keys: bool) -> list[str]:
        """The tokens along the keys or the queries; numbers if they are not known."""
        found, weights = self.attention, self.weights
        if found is None or weights is None:
            return []
        rows = found.key_tokens if keys else found.query_tokens
        return labels(rows, self.at_text, weights.shape[2 if keys else 1])

    def redraw(self) -> None:
        palette, weights = PALETTES.get(self.app.theme, DARK), self.weights
        name = visible(str(self._trace.column("name")[self.position] or ""))
        grid, large = self.query_one(HeadGrid), self.query_one(CellMap)
        about = self.query_one("#about", Static)
        cross = describe.looks_across(self._trace, self.position)
        kind = tr("Attention to the source") if cross else tr("Attention")
        grid.headline(
            f"{kind} ─ {retold(describe.layer_label(self._trace, self.position))}",
            tr("{n} layers", n=len(self._layers)),
        )
        ways = (" · ".join(filter(None, (self._turn(), tr(keys)))) for keys in (_KEYS, _KEYS_BRIEF))
        keys_said = first_fitting(self.app.size.width - 3, *ways)
        if weights is None:
            grid.clear()
            large.clear(self._message)
            about.update(Text(f" {name}\n {keys_said}", style(palette.faint)))
            return
        queries, keys = self.tokens(False), self.tokens(True)
        found = self.attention
        assert found is not None
        cells = Cells(weights[self.at_head], queries, keys, digits, narrow=5, wide=24, tight=4)
        large.show(cells, self.at_query, self.at_key)
        known = tr("rebuilt from query, key and mask") if found.rebuilt else tr("as the run kept them")
        large.headline(first_fitting(large.space.width - 4, *self._titles(cross)), known)
        layers = [self._key_attention[at] for at in self._layers if at in self._key_attention and self._rows is None]
        grid.show(weights, self.at_head, self.at_key, keys, layers, self.at_text, self.position, len(self._layers),
                  self._head_effects())  # fmt: skip
        out = Text(no_wrap=True, overflow="ellipsis")
        out.append(f" {queries[self.at_query]}", style(palette.blue, bold=True))
        out.append(tr(" looks at "), style(palette.soft))
        out.append(keys[self.at_key], style(palette.warm, bold=True))
        out.append(
            tr(" with weight {weight}", weight=f"{weights[self.at_head, self.at_query, self.at_key]:.4f}"),
            style(palette.text, bold=True),
        )
        which = tr("query {query}, key {key}, head {head}", query=self.at_query, key=self.at_key, head=self.at_head)
        out.append(f"  {which}", style(palette.soft))
        if found.scores is not None:
            score = float(found.scores[self.at_text, self.at_head, self.at_query, self.at_key])
            out.append(f"  q·k {score:.4g}  × {found.scale:.4g} = {score * found.scale:.4g}", style(palette.soft))
        out.append(f"\n {self._where(name)}", style(palette.soft))
        out.append(f"\n {keys_said}", style(palette.faint))
        about.update(out)

    def _turn(self) -> str:
        """The key that lays all forwards into one map, if there are several."""
        return (tr(_APART) if self._joined else tr(_TOGETHER)) if self._together else ""

    def _titles(self, cross: bool) -> list[str]:
        """What the large map shows: the head, which forward and text, and, if there is room, its axes."""
        axes = tr("decoder's tokens down, source's across") if cross else tr("queries down, keys across")
        root = self._trace.root_of(self.position)
        text = describe.text_title(self._trace, root, self.at_text) if self._rows is not None else self._row_title(root)
        forward = tr("all forwards") if self._rows is not None else self._forward_title(root)
        brief = [one for one in (tr("Head {n}", n=self.at_head), forward, text) if one]
        return [" ─ ".join([*brief, axes]), " ─ ".join(brief)]

    def _forward_title(self, root: int) -> str:
        """Which forward it is of several: `forward 3`."""
        forward = describe.integer(self._trace, "forward", root)
        return tr("forward {n}", n=forward + 1) if describe.forward_count(self._trace) > 1 else ""

    def _row_title(self, root: int) -> str:
        """Which row of the batch it is of several: `row 2 of 3`."""
        count = (
            0 if self.attention is None or self.attention.probabilities is None else len(self.attention.probabilities)
        )
        return tr("row {n} of {count}", n=self.at_text + 1, count=count) if count > 1 else ""

    def _where(self, name: str) -> str:
        """The module, and the line that computes its scores."""
        at, width = self._scores_at, self.app.size.width - 4
        line = describe.numbered_line(self._trace, at).partition(" ")[2] if at != self._at else ""
        place = describe.place(self._trace, at)
        text = tr("scores: {place}  {line}", place=place, line=line)
        if line:
            return short(tr("{line}   in {call}", line=text, call=name), width)
        return short(tr("{call}  called at {place}", call=name, place=place), width)


def attention_share(trace: Trace, position: int, name: str, theme: str) -> Share:
    """The maps of all heads of an attention, to be shared; they are rebuilt when they are drawn."""
    where = describe.layer_label(trace, position)

    def svg() -> str:
        found = attention_weights.attention(trace, position)
        if found is None or found.probabilities is None:
            raise TraceError(found.reason if found else tr("There is no attention here."))
        weights = found.probabilities[0]
        queries, keys = (labels(rows, 0, size) for rows, size in zip(
            (found.query_tokens, found.key_tokens), weights.shape[1:], strict=True))  # fmt: skip
        return attention_svg([(f"head {at}", one) for at, one in enumerate(weights)], queries, keys, where, theme)

    return Share(tr("the attention maps"), f"{name}-attention", _ways(svg, where))


def _ways(svg: Callable[[], str], title: str) -> dict[str, Callable[[], str]]:
    return {"svg": svg, "html": lambda: page(title, svg())}
