"""The equations of a step as printed in the paper, with the dimensions of this run and the verdict."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from ... import describe
from ...language import later, spoken, tr
from ...language.retell import retold
from ...terminal import padded
from ...trace import schema
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import fit, short
from .substeppane import SubStepPane

_TIGHT = 13  # below this height in rows, empty rows are left out


class EquationPane(SubStepPane):
    """The equations of the call that contains a step, and the sub-steps of attention.

    Attributes:
        first_keys: the keys to begin with, and what they do, for the first step of a run.
    """

    first_keys: tuple[tuple[str, str], ...] = (
        ("w", later("walk")), ("a", later("attention")), ("s", later("step")), ("?", later("keys"))
    )  # fmt: skip

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace, "Equation", id="equation")

    def on_resize(self) -> None:
        self.show(self._position)

    def show(self, position: int) -> None:
        """Show the equations of the step at `position`."""
        self._position = position
        found = describe.equations(self._trace, position, spoken())
        self._symbols = describe.symbols_of_tensors(self._trace, position)
        lines = self._about() if self._trace.parent(position) is None else []
        if lines:
            self.headline("This run")
        elif found:  # the citation of the principal equation is the title
            title = f"{describe.MARKS.get(found[0].verdict, '?')} {found[0].cite}"
            shown = short(title, max(10, self.space.width - 6))
            self.headline(shown)
            if shown != title and not self._tight:
                lines = self._wrapped(found[0].cite, style(self.palette.soft, bold=True))
        else:
            self.headline("Equation")
            lines = [Text(""), Text("  " + tr("No equation is known for this call."), style(self.palette.faint))]
        self._begin(position)
        for at, equation in enumerate(found):
            if at or self._trace.parent(position) is None:
                lines += [Text(""), *self._wrapped(equation.cite, style(self.palette.soft, bold=True))]
            lines += self._lines(equation, -1 if at else len(lines))
        if self._steps and self.has_focus:
            self.border_subtitle = Text(tr("↑ ↓ sub-step or line  ⏎ go there"))
        self.draw(lines)
        self._keep_in_view()

    def _about(self) -> list[Text]:
        """Facts about the run, shown on the first step of a forward pass."""
        out = [] if self._tight else [Text("")]
        for name, fact in describe.about(self._trace):
            said = describe.told_fact(name, fact)
            for at, line in enumerate(self._wrapped(said, style(self.palette.text), indent=9)):
                head = Text(f"  {padded('' if at else tr(name), 8)} ", style(self.palette.faint))
                out.append(Text().append_text(head).append_text(line[11:]))
        start = Text(f"  {padded(tr('start'), 8)} ", style(self.palette.faint))
        for key, does in self.first_keys:
            said = tr(does)
            if start.cell_len + cell_len(f"{key} {said}") < self.space.width:
                start.append(f"{key} ", style(self.palette.warm, bold=True)).append(
                    f"{said}  ", style(self.palette.soft)
                )
        return [*out, start]

    @property
    def _tight(self) -> bool:
        return self.space.height < _TIGHT

    def _lines(self, equation: describe.StepEquation, top: int) -> list[Text]:
        """The lines of an equation. The principal one begins at row `top` and has the sub-steps; others pass -1."""
        palette, width = self.palette, self.space.width
        out: list[Text] = []
        if equation.within:
            out += self._wrapped(tr("in {call}", call=equation.within), style(palette.faint, italic=True))
        color = palette.verdicts.get(equation.verdict, palette.bad)
        judged = style(color, bold=equation.verdict != schema.UNCHECKED)
        judgement = self._wrapped(retold(equation.judgement), judged, hang=2)
        gap = [] if self._tight else [Text("")]
        out += judgement if self._tight else gap  # in a low pane the verdict comes first, so that it stays visible
        out += self._drawing(equation, max(8, width - 3))
        out += gap
        if equation.dims:
            out += self._wrapped(equation.dims, style(palette.blue))
        out += [] if self._tight else judgement
        if top >= 0:
            out += self._substeps(top + len(out))
        in_table = {row.tensor for row in self._trace.tensors_of(self._position)}
        legend = [one for one in equation.meanings if equation.tensors[one[0]] not in in_table]
        if legend:
            out += gap
            letters = max(cell_len(letter) for _, letter, _ in legend)
            for symbol, letter, meaning in legend:
                line = Text(no_wrap=True)
                line.append(f"  {fit(letter, letters)}  ", style(self._hue(equation, symbol), bold=True))
                line.append(short(meaning, max(1, width - letters - 5)), style(palette.soft))
                out.append(line)
        if equation.note:
            out += [*gap, *self._wrapped(equation.note, style(palette.soft, italic=True))]
        return out

    def _drawing(self, equation: describe.StepEquation, width: int) -> list[Text]:
        """The equation in two dimensions, each symbol in the colour of its tensor in the tensor pane."""
        out = []
        for row, spans in zip(equation.drawn(width), equation.spans(width), strict=True):
            out.append(self._coloured(row, [(a, b, self._hue(equation, symbol)) for a, b, symbol in spans]))
        return out

    def _hue(self, equation: describe.StepEquation, symbol: str) -> str:
        found = self._symbols.get(equation.tensors.get(symbol, -1))
        return self.palette.hue(found.number) if found else self.palette.warm
