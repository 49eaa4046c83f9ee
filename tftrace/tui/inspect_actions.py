"""Actions that inspect a step: follow its tensors, take the tour, show values and attention maps."""

from __future__ import annotations

from .. import describe, flow
from ..navigate import tour
from ..navigate.value_advice import advice
from ..text import visible
from ..trace.trace import Trace
from .dialogs.step_choice import StepChoice
from .panes.equationpane import EquationPane
from .panes.tensorpane import TensorPane
from .screened import ScreenedApp
from .screens.attentionscreen import AttentionScreen
from .screens.valuescreen import ValueScreen
from .statusline import StatusLine

_JUMPS = 200  # jumps that can be undone


class InspectingApp(ScreenedApp[None]):
    """The part of the app that follows tensors and opens other screens."""

    trace: Trace
    position: int

    def __init__(self) -> None:
        super().__init__()
        self._jumps: list[int] = []

    def go(self, position: int, follow: bool = True) -> None:
        """Make `position` the current step."""
        raise NotImplementedError

    def jump(self, position: int, tensor: int | None = None) -> None:
        """Go to a distant step, from which Backspace leads back; select the tensor with number `tensor` there."""
        if position != self.position:
            self._jumps = [*self._jumps[1 - _JUMPS :], self.position]
            self.go(position)
        if tensor is not None:
            self.query_one(TensorPane).pick(tensor)

    def say(self, sentence: str) -> None:
        """Show a sentence in the status line until the next key."""
        self.query_one(StatusLine).say(sentence)

    # -- flow ---------------------------------------------------------------------------------------------

    def action_jump_back(self) -> None:
        if not self._jumps:
            return self.say("There is no jump to undo: p, o, a, ], }, ), t and the list of stops make them.")
        self.go(self._jumps.pop())

    def action_producer(self) -> None:
        one = self.query_one(TensorPane).chosen
        if one is None:
            return self.say("There is no tensor here: choose a step that has one.")
        found = flow.producer(self.trace, one.at, one.row.tensor)
        if found is None or found == self.position:
            where = "existed before the run" if found is None else "was made by this step itself"
            return self.say(f"{one.name} {where}.")
        self.jump(found, one.row.tensor)

    def action_consumers(self) -> None:
        one = self.query_one(TensorPane).chosen
        if one is None:
            return self.say("There is no tensor here: choose a step that has one.")
        found = [at for at in flow.consumers(self.trace, one.at, one.row.tensor) if at != self.position]
        if not found:
            return self.say(f"No later step takes {one.name}.")
        if len(found) == 1:
            return self.jump(found[0], one.row.tensor)
        tensor = one.row.tensor
        self.push_screen(StepChoice(self.trace, f"{one.name} goes to", found), lambda at: self._chosen(at, tensor))

    def _chosen(self, position: int | None, tensor: int) -> None:
        if position is not None:
            self.jump(position, tensor)

    # -- tour ---------------------------------------------------------------------------------------------

    def action_walk(self, by: int) -> None:
        found = tour.next_stop(self.trace, self.position, by)
        if found is None:
            where = "last" if by > 0 else "first"
            return self.say(f"That was the {where} of the papers' equations in this run.")
        self.jump(found)
        stops = tour.stops(self.trace)
        kind = self.trace.column("type")[found]
        hint = "  i takes it apart, a shows its heads" if describe.attention_of(self.trace, found) is not None else ""
        self.say(f"walk {stops.index(found) + 1}/{len(stops)}: {visible(str(kind))}{hint}  w on, W back")

    # -- sub-steps ----------------------------------------------------------------------------------------

    def action_substep(self, by: int) -> None:
        if not self.query_one(EquationPane).choose(by):
            self.say("There is no attention at this step: a leads to the nearest one.")

    def on_sub_step_pane_go_to(self, event: EquationPane.GoTo) -> None:
        self.jump(event.position)

    # -- numbers ------------------------------------------------------------------------------------------

    def action_tensor(self, rows: int) -> None:
        self.query_one(TensorPane).action_choose(rows)

    def action_values(self) -> None:
        one = self.query_one(TensorPane).chosen
        if one is None:
            return self.say("There is no tensor here: choose a step that has one.")
        if one.row.value is None:
            return self.say(f"{one.name} was not kept whole: {advice(self.trace, one.row)}.")
        self.push_screen(ValueScreen(self.trace, one.at, one), self._returned)

    def action_attention(self) -> None:
        found = describe.attention_near(self.trace, self.position)
        if found is None:
            return self.say(_no_attention(self.trace))
        self.push_screen(AttentionScreen(self.trace, found), self._returned)

    def _returned(self, position: int | None) -> None:
        if position is not None:
            self.jump(position)
            self.say("This is where it comes from; ⌫ leads back.")


def _no_attention(trace: Trace) -> str:
    """Why no attention is shown here, and what to do about it."""
    if trace.meta.get("level") == "modules":
        return "No attention was recorded here: record at level functions or lines."
    return "No call here is known to be attention: an equation of yours over Q, K and V says so (--recipes)."
