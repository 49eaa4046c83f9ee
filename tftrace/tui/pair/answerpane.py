"""The answer of a comparison: a sentence, what the two runs said, and what differs before the numbers."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from ...compare import Comparison, prerequisite
from ...compare.difference_map import MARKS, mark
from ...language.retell import retold
from ...text import visible
from ..paint.broken_lines import broken
from ..paint.palette import style
from ..panes.pane import Pane


class AnswerPane(Pane):
    """The sentence first; it scrolls where there is more than fits."""

    def __init__(self) -> None:
        super().__init__("Answer", id="answer")

    def show(self, found: Comparison | None, said: str, progress: str = "") -> None:
        """Draw an answer; `said` is what the runs themselves answered, `progress` what is shown until it is there."""
        palette = self.palette
        if found is None:
            return self.draw([Text(f" {retold(progress)}", style(palette.soft))])
        good = found.verdict in ("equal", "rounding")
        look = palette.good if good else palette.bad if found.verdict == "differs" else palette.warm
        self.headline(f"Answer ─ {found.verdict}", _counts(found))
        lines = self._wrapped(found.sentence, look, bold=True)
        lines += self._wrapped(said, palette.text) if said else []
        for one in found.before:
            lines += self._wrapped(prerequisite(one), palette.soft)
        self.draw(lines)

    def tell(self, title: str, said: str) -> None:
        """Draw a sentence in the place of an answer."""
        self.headline(title)
        self.draw(self._wrapped(said, self.palette.text))

    def _wrapped(self, said: str, look: str, bold: bool = False) -> list[Text]:
        text = Text(retold(visible(said)), style(look, bold=bold))
        return [Text(" ").append_text(one) for one in broken(text, max(8, self.space.width - 2))]


def _counts(found: Comparison) -> str:
    """How many pairs have which mark."""
    counts = Counter(map(mark, found.tensors))
    counts["◁▷"] = found.pairs.unpaired
    return "  ".join(f"{sign} {counts[sign]}" for sign in (*MARKS, "◁▷") if counts[sign])
