"""Two runs side by side, opened at the first real difference: both lines, both equations, the difference by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from ... import describe
from ...compare import Comparison, Difference, Side, compare_runs, differences
from ...compare.difference_map import difference_map, token_labels
from ...errors import TraceError
from ...language import LANGUAGES, later, speak, spoken, tr
from ...language.retell import retold
from ...navigate.breakpoints import Breakpoint
from ...text import visible
from ...trace.missing import must_have_steps
from ..dialogs.overlays import HelpScreen
from ..keymap import bindings
from ..paint.palette import DARK, PALETTES, style
from ..panes.equationpane import EquationPane
from ..panes.pane import Pane, first_fitting
from ..panes.sourcepane import SourcePane
from ..shared_actions import SharingApp
from .answerpane import AnswerPane
from .mappane import MapPane
from .pair_keys import PAIR_KEYMAP, PAIR_SIGNS
from .pair_rows import REAL, PairRow, halting, opening, role_rows, tensor_rows
from .rowspane import RowsPane
from .tokenpane import TokenPane

_KEYS = (later("j k move  n N real difference  l map  r roles  1 2 step through left, right  q leave  ? help"),
         later("n N real difference  l map  1 2 step through  q leave  ? help"),
         later("n N l 1 2 q ? help"))  # fmt: skip
_NARROW = 130


class PairApp(SharingApp[tuple[int, int] | None]):
    """The comparison of two runs.

    It returns the side (0 or 1) and position to open in the debugger, or None when the user quits.

    Args:
        left: The first run.
        right: The second run; either may be a dump, which has no steps.
        names: The two runs as the user named them.
        language: Language of the screen, one of `tftrace.language.LANGUAGES`.
        breakpoints: Breakpoints, whose rows `c` goes to.
        found: The comparison, if it is known already.
        row: The row to open at; by default that of the first real difference.

    Raises:
        TraceError: A trace has no steps.
    """

    TITLE = "tftrace"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #answer { height: auto; min-height: 3; max-height: 7; }
    #all { height: 1fr; }
    #rows, #map { width: 44; }
    #map { display: none; }
    .as-map #rows { display: none; }
    .as-map #map { display: block; width: 45%; }
    .side { width: 1fr; }
    .side #source { height: 1fr; }
    .side #equation { height: 1fr; }
    #difference { height: 30%; min-height: 7; }
    #status { height: 1; }
    .-narrow #answer { max-height: 5; }
    .-narrow #rows { width: 26; }
    .-narrow #difference { min-height: 6; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(PAIR_KEYMAP)]

    @dataclass
    class Compared(Message):
        """The comparison is there, or the reason why there is none."""

        found: Comparison | None
        failure: TraceError | None = None

    @dataclass
    class Described(Message):
        """What differs in one pair of roles has been looked up."""

        row: int
        found: list[Difference]

    def __init__(
        self,
        left: Side,
        right: Side,
        names: tuple[str, str],
        language: str = "en",
        breakpoints: Sequence[Breakpoint] = (),
        *,
        found: Comparison | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__()
        for side in (left, right):
            if side.trace is not None:
                must_have_steps(side.trace)
        self.sides = (left, right)
        self.names = (visible(names[0]), visible(names[1]))
        speak(language)
        self.breakpoints = breakpoints
        self.found = found
        self.failure: TraceError | None = None
        self.rows: list[PairRow] = []
        self.row = row
        self.broken: list[int] = []
        self.by_role = False
        self._roles: dict[int, list[Difference]] = {}
        self._labels: tuple[list[str], list[str]] = ([], [])
        self._message = ""

    def compose(self) -> ComposeResult:
        yield AnswerPane()
        with Horizontal(id="all"):
            yield RowsPane()
            yield MapPane()
            with Vertical():
                with Horizontal():
                    for side in self.sides:
                        with Vertical(classes="side"):
                            if side.trace is None:
                                yield Pane("Source", id="source")
                            else:
                                yield SourcePane(side.trace)
                                yield EquationPane(side.trace)
                yield TokenPane()
        yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self.query_one(AnswerPane).show, None, "", "Comparing the two runs …")
        self.run_worker(self._compare, thread=True, exit_on_error=False)

    def on_resize(self, event: events.Resize) -> None:
        self.screen.set_class(event.size.width < _NARROW, "-narrow")
        self.call_after_refresh(self.show)

    def _compare(self) -> None:
        """Compare in a thread, since it may take seconds."""
        try:
            self.post_message(self.Compared(self.found or compare_runs(*self.sides)))
        except TraceError as error:
            self.post_message(self.Compared(None, error))

    def on_pair_app_compared(self, event: Compared) -> None:
        if event.found is None:
            self.failure = event.failure
            return self.exit()
        found = self.found = event.found
        self._labels = (token_labels(self.sides[0].trace, found.left_tokens),
                        token_labels(self.sides[1].trace, found.right_tokens))  # fmt: skip
        bound = found.first.bound if found.first else max((pair.bound for pair in found.tensors), default=0.0)
        self.query_one(MapPane).know(difference_map(found), self._labels[0], bound)
        self._list(by_role=found.verdict == "incomparable" and self._both_known, row=self.row)

    @property
    def _both_known(self) -> bool:
        """Whether the steps of both runs are known."""
        return all(side.trace is not None for side in self.sides)

    def _list(self, by_role: bool, row: int | None = None) -> None:
        """List pairs of tensors, or of roles."""
        assert self.found is not None
        left, right = (side.trace for side in self.sides)
        self.by_role = by_role and left is not None and right is not None
        if self.by_role and left is not None and right is not None:
            self.rows = role_rows(left, right)
            self.run_worker(self._describe, thread=True, exit_on_error=False)
        else:
            self.rows = tensor_rows(self.found)
        self.broken = halting(self.rows, [side.trace for side in self.sides], self.breakpoints)
        if row is None:
            row = 0 if self.by_role else opening(self.rows, self.found)
            row = self.broken[0] if self.broken else row
        self.row = max(0, min(row, len(self.rows) - 1))
        self.call_after_refresh(self.show)

    def _describe(self) -> None:
        """Look up what differs by role, nearest pairs first; attention may have to be rebuilt for it."""
        left, right = (side.trace for side in self.sides)
        pairs = [row.role for row in self.rows if row.role is not None]
        for at in sorted(range(len(pairs)), key=lambda at: abs(at - (self.row or 0))):
            if not self.is_running or left is None or right is None:
                return
            self.post_message(self.Described(at, differences(left, right, pairs[at], pairs)))

    def on_pair_app_described(self, event: Described) -> None:
        self._roles[event.row] = event.found
        if self.by_role and (len(self._roles) == len(self.rows) or event.row == self.row):
            self.show()

    def show(self) -> None:
        """Draw the chosen pair."""
        found = self.found
        if found is None or self.row is None:
            return
        self.query_one(AnswerPane).show(found, describe.answers(*(side.trace for side in self.sides)))
        different = frozenset(at for at, said in self._roles.items() if said) if self.by_role else frozenset()
        self.query_one(RowsPane).show(self.rows, self.row, self.broken, different)
        self.query_one(RowsPane).headline("Pairs by role" if self.by_role else "Pairs of tensors")
        self.query_one(MapPane).show()
        if self.rows:
            row = self.rows[self.row]
            for at, box in enumerate(self.query(".side").results(Vertical)):
                self._show_side(at, box, row)
            if self.by_role:
                self.query_one(TokenPane).show_roles(row, self.names, self._roles.get(self.row))
            else:
                self.query_one(TokenPane).show_tensors(found, row, self._labels)
        self._tell()

    def _show_side(self, at: int, box: Vertical, row: PairRow) -> None:
        name, position = self.names[at], (row.left, row.right)[at]
        source, equations = box.query_one("#source", Pane), box.query(EquationPane)
        if position is not None:
            for pane in (source, *equations):
                if isinstance(pane, (SourcePane, EquationPane)):
                    pane.show(position)
            source.headline(f"{name} ─ {source.border_title}")
            return
        said = f"{name} has nothing that is paired with this."
        if self.sides[at].trace is None and row.pair is not None and self.found is not None:
            place = (self.found.tensors[row.pair].left, self.found.tensors[row.pair].right)[at]
            said = f"{name} has no steps and no source, only arrays by name: this one is {visible(place.tensor)}."
        for pane in (source, *equations):
            pane.clear(said if pane is source else "")
        source.headline(name)

    def _tell(self) -> None:
        """Draw the status line."""
        palette = PALETTES.get(self.theme, DARK)
        line = Text(f" {self.names[0]} ◁ ▷ {self.names[1]}", style(palette.warm, bold=True), no_wrap=True)
        if self._message:
            line.append(f" · {retold(self._message)}", style(palette.bad))
        room = self.size.width - line.cell_len - 2
        ways = [tr(keys) for keys in _KEYS]
        keys = first_fitting(room, *ways) if room > cell_len(ways[-1]) else ""
        line.append(" " * max(1, room - cell_len(keys) + 1) + keys, style(palette.faint))
        self.query_one("#status", Static).update(line)
        self._message = ""

    # -- keys ---------------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self.row is not None:
            self.row = max(0, min(self.row + rows, len(self.rows) - 1))
            self.show()

    def action_differing(self, by: int) -> None:
        """Go to the next or previous difference that was born; by role, to the next that differs in any way."""
        if self.row is None:
            return
        at = range(self.row + 1, len(self.rows)) if by > 0 else range(self.row - 1, -1, -1)
        real = (row for row in at if (self._roles.get(row) if self.by_role else self.rows[row].mark in REAL))
        found = next(real, None)
        self._message = "" if found is not None else f"No difference is born {'after' if by > 0 else 'before'} this."
        self.row = self.row if found is None else found
        self.show()

    def action_stop(self, by: int) -> None:
        """Go to the next or previous row where a breakpoint halts."""
        later = [row for row in self.broken if (row - (self.row or 0)) * by > 0]
        if later:
            self.row = later[0] if by > 0 else later[-1]
            self.show()

    def action_open(self, side: int) -> None:
        position = (self.rows[self.row].left, self.rows[self.row].right)[side] if self.row is not None else None
        if position is not None:
            self.exit((side, position))

    def action_map(self) -> None:
        """Switch between the list and the map of layers and tokens."""
        mapped = not self.screen.has_class("as-map")
        self.screen.set_class(mapped, "as-map")
        self.screen.set_focus(self.query_one(MapPane if mapped else RowsPane))
        self.call_after_refresh(self.show)

    def action_roles(self) -> None:
        """Switch between pairs of tensors and pairs of roles."""
        if not self._both_known:
            self._message = "Roles are known of recorded runs only."
            return self.show()
        if self.found is not None:
            self._list(not self.by_role)

    def action_language(self) -> None:
        speak(LANGUAGES[(LANGUAGES.index(spoken()) + 1) % len(LANGUAGES)])
        self.show()

    def repaint(self) -> None:
        """Draw everything again, in other colours."""
        self.show()

    @property
    def share_name(self) -> str:
        """The names of both runs."""
        return "-".join(name.removesuffix(".tftrace") for name in self.names)

    def action_help(self) -> None:
        self.push_screen(HelpScreen(PAIR_KEYMAP, PAIR_SIGNS))

    def on_sub_step_pane_look(self, event: EquationPane.Look) -> None:
        """The source of the side whose sub-steps have the cursor shows its line."""
        for box in self.query(".side").results(Vertical):
            if any(pane.has_focus for pane in box.query(EquationPane)):
                box.query_one(SourcePane).show(event.position)

    def on_rows_pane_chosen(self, event: RowsPane.Chosen) -> None:
        self.row = event.row
        self.show()

    def on_map_pane_chosen(self, event: MapPane.Chosen) -> None:
        if self.by_role:
            self._list(by_role=False)
        self.row = next((at for at, row in enumerate(self.rows) if row.pair == event.pair), self.row)
        self.show()


def run_pair(
    left: Side, right: Side, names: tuple[str, str], language: str = "en", breakpoints: Sequence[Breakpoint] = ()
) -> None:
    """Open two runs side by side and return when the user quits; in between, steps may be opened in the debugger.

    Raises:
        TraceError: The runs have no tensors that could be compared.
    """
    from ..app import TraceApp

    app = PairApp(left, right, names, language, breakpoints)
    while (chosen := app.run()) is not None:
        at, position = chosen
        trace = app.sides[at].trace
        if trace is not None:
            TraceApp(trace, spoken(), start=position, breakpoints=breakpoints).run()
        row = None if app.by_role else app.row
        app = PairApp(left, right, names, spoken(), breakpoints, found=app.found, row=row)
    if app.failure is not None:
        raise app.failure
