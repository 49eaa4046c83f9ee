"""Actions that inspect a step: follow its tensors, take the tour, show values and attention maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .. import describe, flow
from ..errors import TraceError
from ..language import later, tr
from ..navigate import tour
from ..navigate.value_advice import advice
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace
from .dialogs.prompt import Question
from .dialogs.share_choice import Share
from .dialogs.step_choice import StepChoice
from .panes.equationpane import EquationPane
from .panes.sourcepane import SourcePane
from .panes.tensorpane import TensorPane
from .screens.attentionscreen import AttentionScreen, attention_share
from .screens.valuescreen import ValueScreen
from .share import drawings
from .shared_actions import SharingApp, wrote
from .statusline import StatusLine

_AFTER_WALK = later("Next: a attention maps  c what went wrong  l layers × tokens  P share  g from the start")
_JUMPS = 200  # jumps that can be undone


class InspectingApp(SharingApp[None]):
    """The part of the app that follows tensors and opens other screens."""

    trace: Trace
    position: int

    def __init__(self) -> None:
        super().__init__()
        self._jumps: list[int] = []

    def go(self, position: int, follow: bool = True) -> None:
        """Make `position` the current step."""
        raise NotImplementedError

    def ask(self, question: Question, text: str = "") -> None:
        """Open the prompt with a question."""
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
        if one.role == schema.PARAMETER:
            return self.say(tr("{name} is a parameter: it existed before the run.", name=one.name))
        found = flow.makers(self.trace, one.at, one.row.tensor, self.position)
        if not found:
            made = flow.producer(self.trace, one.at, one.row.tensor) is not None
            given = tr("{name} was given to the model: no recorded step made it.", name=one.name)
            return self.say(tr("{name} was made here, of no recorded tensor.", name=one.name) if made else given)
        self._lead(tr("{name} was made from", name=one.name), found)

    def action_consumers(self) -> None:
        one = self.query_one(TensorPane).chosen
        if one is None:
            return self.say("There is no tensor here: choose a step that has one.")
        found = [at for at in flow.takers(self.trace, one.at, one.row.tensor) if at != self.position]
        if not found:
            return self.say(tr("No recorded step takes {name} any further.", name=one.name))
        self._lead(tr("{name} goes to", name=one.name), [(at, one.row.tensor) for at in found])

    def _lead(self, title: str, links: list[tuple[int, int]]) -> None:
        """Jump to the only step of these, or let the user choose one; each comes with the tensor to select there."""
        if len(links) == 1:
            return self.jump(*links[0])

        def chosen(position: int | None) -> None:
            if position is not None:
                self.jump(position, dict(links)[position])

        self.push_screen(StepChoice(self.trace, title, [at for at, _ in links]), chosen)

    # -- tour ---------------------------------------------------------------------------------------------

    def action_walk(self, by: int) -> None:
        found = tour.next_stop(self.trace, self.position, by)
        if found is None and by > 0:
            return self.say(tr("That was the last of the papers' equations in this run.") + " " + tr(_AFTER_WALK))
        if found is None:
            return self.say(tr("That was the first of the papers' equations in this run. w goes on from here."))
        self.jump(found)
        stops = tour.stops(self.trace)
        kind = self.trace.column("type")[found]
        attention = describe.attention_of(self.trace, found) is not None
        hint = "  " + tr("i takes it apart, a shows its heads") if attention else ""
        number = stops.index(found) + 1
        on = tr("w on, W back") if number < len(stops) else tr("the last one.") + " " + tr(_AFTER_WALK)
        walk = tr("walk {number}/{count}: {what}", number=number, count=len(stops), what=visible(str(kind)))
        self.say(f"{walk}{hint}  {on}")

    # -- sub-steps ----------------------------------------------------------------------------------------

    def action_substep(self, by: int) -> None:
        if not self.query_one(EquationPane).choose(by):
            self.say("There is no attention at this step: a leads to the nearest one.")

    def on_sub_step_pane_look(self, event: EquationPane.Look) -> None:
        self.query_one(SourcePane).show(event.position)

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

    # -- sharing ------------------------------------------------------------------------------------------

    @property
    def share_name(self) -> str:
        """The name of the trace, and the step."""
        return f"{self.trace.path.name.removesuffix('.tftrace')}-{self.position}"

    def shares(self) -> list[Share]:
        """The maps of the nearest attention, and the card of this step."""
        trace, at, name = self.trace, self.position, self.share_name
        maps = self.screen.share(name) if isinstance(self.screen, AttentionScreen) else None
        near = describe.attention_near(trace, at)
        if maps is None and near is not None:
            maps = attention_share(trace, near, name, self.theme)
        ways = {
            "svg": partial(drawings.card_svg, trace, at, f"step {at}"),
            "html": partial(drawings.card_html, trace, at, f"{name} · step {at}"),
        }
        return [*([maps] if maps else []), Share(tr("this step's card"), f"{name}-card", ways)]

    def action_export(self) -> None:
        """Ask for the name of a file, whose ending says what the trace is exported as."""

        from ..export import FORMATS

        def done(text: str) -> str:
            path = Path(text.strip()).expanduser()
            try:
                if path.exists() or path.is_symlink():
                    return tr("{name} exists already: choose another name.", name=visible(path.name))
            except (OSError, ValueError) as error:
                return visible(str(error))
            self.run_worker(partial(self._export, path), thread=True, group="export", exit_on_error=False)
            return ""

        name = self.trace.path.name.removesuffix(".tftrace")
        endings = " ".join(one.endings[0] for one in FORMATS.values())
        hint = tr("a file; what is written depends on its ending: {endings}", endings=endings)
        self.ask(Question(tr("export to") + " ", hint, done), f"{name}.html")

    def _export(self, path: Path) -> None:
        """In a thread, since it may take seconds."""
        from ..export import export

        try:
            export(self.trace, path)
            said = wrote(path)
        except TraceError as error:
            said = str(error)
        self.call_from_thread(self.notify, said, markup=False)

    def _returned(self, position: int | None) -> None:
        if position is not None:
            self.jump(position)
            self.say("This is where it comes from; ⌫ leads back.")


def _no_attention(trace: Trace) -> str:
    """Why no attention is shown here, and what to do about it."""
    if trace.meta.get("level") == "modules":
        return "No attention was recorded here: record at level functions or lines."
    return "No call here is known to be attention: an equation of yours over Q, K and V says so (--recipes)."
