"""The difference of one pair: what was found, and the heat map of its tokens; of a role, what differs in its steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ...compare import COMPARED, Comparison, Difference
from ...compare.difference_map import SHADES, explained, levels
from ...language import tr
from ...language.retell import retold
from ...text import visible
from ..paint.broken_lines import broken
from ..paint.heatmap import ink
from ..paint.palette import style
from ..panes.pane import Pane, fit, short
from .pair_rows import PairRow
from .rowspane import color

_MOST = 2_000  # tokens that are drawn
_LONGEST = 16  # columns of a token
_ASPECT = 12  # columns for the name of an aspect
Labels = Sequence[str]


class TokenPane(Pane):
    """What differs in the chosen row."""

    def __init__(self) -> None:
        super().__init__("Difference", id="difference")

    def show_tensors(self, found: Comparison, row: PairRow, labels: tuple[Labels, Labels]) -> None:
        """Draw the heat map of a pair of tensors, or say that there is none."""
        if row.pair is None:
            self.headline(f"Difference ─ {row.label}")
            return self.draw(self._wrapped("only one run has this tensor, or nothing that can be compared with it"))
        pair, sign = found.tensors[row.pair], row.mark
        self.headline(f"Difference by token ─ {row.label}", "· rounding  ░▒▓█ from there to 1")
        lines = self._wrapped(f"{sign} {retold(explained(found, row.pair))}", color(sign, self.palette))
        if pair.tokens is not None and pair.by_token is not None:
            lines += self._map(found, pair.tokens, pair.by_token, pair.bound, labels)
        elif sign != "=":
            lines += self._wrapped("By token it is not known.", self.palette.faint)
        self.draw(lines)

    def _map(
        self, found: Comparison, at: np.ndarray, sizes: np.ndarray, bound: float, labels: tuple[Labels, Labels]
    ) -> list[Text]:
        """The tokens, each on the colour of its difference and behind a shade that says the same."""
        palette, width = self.palette, max(20, self.space.width - 2)
        lines: list[Text] = []
        row, shades = None, levels(sizes, bound)
        worst = int(sizes.argmax())
        for n, (slot, level) in enumerate(zip(at[:_MOST].tolist(), shades.tolist(), strict=False)):
            ours, theirs = labels[0][slot], labels[1][slot]
            said = ours if ours == theirs else f"{ours}→{theirs}"
            cell = f"{SHADES[level]}{short(said, _LONGEST)} "
            number = int(found.left_tokens[slot, 1])
            if number != row or not lines or lines[-1].cell_len + cell_len(cell) > width:
                head = tr(" row {n} ", n=number) if number != row else " " * 7
                lines.append(Text(head, style(palette.faint), no_wrap=True))
                row = number
            look = ink(level / (len(SHADES) - 1), palette.name)
            lines[-1].append(cell, look + style(bold=True, underline=True) if n == worst else look)
        if len(at) > _MOST:
            lines.append(Text(" " + tr("and {n} more tokens", n=len(at) - _MOST), style(palette.faint)))
        return lines

    def show_roles(self, row: PairRow, names: tuple[str, str], found: list[Difference] | None) -> None:
        """Draw a table of what differs in two steps with the same role; None while that is being computed."""
        palette, width = self.palette, self.space.width
        self.headline(f"What differs in role ─ {row.label.strip()}")
        half = max(10, (width - _ASPECT - 4) // 2)
        if not found:
            return self.draw(self._wrapped("Looking …" if found is None else f"the {COMPARED}"))
        head = " " * (_ASPECT + 2) + fit(names[0], half) + "  " + fit(names[1], half)
        lines = [Text(head, style(palette.faint), no_wrap=True)]
        for one in found:
            texts = [broken(Text(retold(side), style(palette.text)), half) for side in (one.left, one.right)]
            for at in range(max(map(len, texts))):
                line = Text("  " + fit("" if at else retold(one.aspect), _ASPECT), style(palette.warm), no_wrap=True)
                for text in texts:
                    part = text[at] if at < len(text) else Text("")
                    line.append_text(part).append(" " * (half + 2 - part.cell_len))
                lines.append(line)
        self.draw(lines)

    def _wrapped(self, said: str, look: str = "") -> list[Text]:
        text = Text(retold(visible(said)), style(look or self.palette.soft))
        return [Text(" ").append_text(one) for one in broken(text, max(8, self.space.width - 2))]
