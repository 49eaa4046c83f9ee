"""Actions that change a step and run the model again: the edit, what became of the answer, both runs side by side."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

from .. import describe
from ..edits import Edit, from_trace, mean, noise, scale, set_to, zero
from ..errors import TraceError
from ..language import tr
from ..text import visible
from ..trace import schema, tokens
from ..what_if import Effects, Trial, sweep, what_if
from .dialogs.edit_choice import TYPED, EditAsked, EditChoice, Target
from .dialogs.prompt import Question
from .inspect_actions import InspectingApp
from .screens.attentionscreen import AttentionScreen
from .screens.trialscreen import TrialScreen

_HINT = "zero · mean · scale 0.5 · noise 0.1 · set 1 · from other.tftrace, and head 1 token 3 channel 5"
_MOST = 64  # tokens that Tab leads through
_PARTS = ("head", "token", "channel")


class TryingApp(InspectingApp):
    """The part of the app that tries edits.

    Attributes:
        beside: The edited run that the user wants to step through beside this one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beside: Trial | None = None

    def action_try(self) -> None:
        """Change what the call of this step returns."""
        position = self.trace.call_of(self.position)
        self._choose(position, [Target(tr("all of it"), {}), *self._parts(position)])

    def _parts(self, position: int) -> list[Target]:
        """The heads of an attention, and the tokens that a call returns something for."""
        found: list[Target] = []
        attention = describe.attention_of(self.trace, position)
        shapes = [] if attention is None else [row.shape for row in self.trace.tensors_of(attention)]
        heads = next((shape[1] for shape in shapes if len(shape) == 4), 0)
        found += [Target(tr("head {n}", n=head), {"head": head}) for head in range(heads)]
        rows = [row for row in self.trace.tensors_of(position) if row.role == schema.OUTPUT and len(row.shape) == 3]
        size = min(rows[0].shape[1], _MOST) if rows else 0
        words = tokens.along(self.trace, position, rows[0].shape[1]) if rows else []
        for at in range(size):
            word = f" “{words[at]}”" if at < len(words) else ""
            found.append(Target(tr("token {n}", n=at) + word, {"token": at}))
        return found

    def on_edit_asked(self, event: EditAsked) -> None:
        self._choose(self.trace.call_of(event.position), [*event.targets, Target(tr("all of it"), {})])

    def _choose(self, position: int, targets: list[Target]) -> None:
        if self.trace.column("kind")[position] not in schema.CALLS:
            return self.say("Only what a call returns can be changed.")
        name = describe.path(self.trace, position)
        choice = EditChoice(tr("step {n}", n=position) + f" · {name}", targets)

        def chosen(edit: Edit | str | None) -> None:
            if edit == TYPED:
                while len(self.screen_stack) > 1:
                    self.pop_screen()
                part = " ".join(f"{key} {at}" for key, at in choice.part.items())
                self.ask(Question("! ", _HINT, partial(self._typed, position)), part)
            elif isinstance(edit, str):
                self._run_sweep(position, edit)
            elif edit is not None:
                self._try(position, edit)

        self.push_screen(choice, chosen)

    def _typed(self, position: int, said: str) -> str:
        """Try what was typed; what is wrong with it otherwise."""
        if not said.strip():
            return ""
        try:
            self._try(position, parse_edit(said))
        except TraceError as error:
            return str(error)
        return ""

    # -- runs, in a thread ----------------------------------------------------------------------------------

    def _try(self, position: int, edit: Edit) -> None:
        self._tell(tr("Running the model with {edit} …", edit=str(edit)))
        self.run_worker(
            partial(self._tried, position, edit), thread=True, group="try", exclusive=True, exit_on_error=False
        )

    def _tried(self, position: int, edit: Edit) -> None:
        try:
            found = what_if(self.trace, position, edit)
        except TraceError as error:
            self.call_from_thread(self._tell, str(error))
            return
        self.call_from_thread(self.push_screen, TrialScreen(found), partial(self._answered, found))

    def _answered(self, found: Trial, both: bool | None) -> None:
        """Step through both runs, or take the edit back: its run goes with the screen."""
        if both:
            self.beside = found
            self.exit()

    def _run_sweep(self, position: int, kind: str) -> None:
        self._tell(tr("Running the model for each of the {sweep} …", sweep=tr(kind)))
        self.run_worker(
            partial(self._swept, position, kind), thread=True, group="try", exclusive=True, exit_on_error=False
        )

    def _swept(self, position: int, kind: str) -> None:
        try:
            found = sweep(self.trace, kind, zero(), step=position if kind == "tokens" else None)
        except TraceError as error:
            self.call_from_thread(self._tell, str(error))
            return
        self.call_from_thread(self._show_effects, found)

    def _show_effects(self, found: Effects) -> None:
        if isinstance(self.screen, AttentionScreen) and found.sweep == "heads":
            self.screen.colour(found)
        self.push_screen(TrialScreen(found))

    def _tell(self, sentence: str) -> None:
        """Say it in the status line, or over another screen."""
        if len(self.screen_stack) > 1:
            self.notify(visible(sentence), markup=False)
        else:
            self.say(sentence)


def parse_edit(said: str) -> Edit:
    """The edit that a user types: a change, and the part as `head 1 token 3`.

    Raises:
        TraceError: It is none.
    """
    try:
        words = shlex.split(said)
    except ValueError:
        words = []
    part: dict[str, Any] = {}
    change: list[str] = []
    while words:
        word = words.pop(0).removeprefix("--")
        if word in _PARTS and words:
            part[word] = _positions(word, words.pop(0))
        else:
            change.append(word)
    return _change(change, part)


def _change(words: list[str], part: dict[str, Any]) -> Edit:
    name, value = (words[0] if words else ""), (words[1] if len(words) > 1 else "")
    plain = {"zero": zero, "mean": mean}
    numbered = {"scale": scale, "noise": noise, "set": set_to}
    if name in plain and not value:
        return plain[name](**part)
    if name in numbered and value:
        try:
            number = float(value)
        except ValueError as error:
            raise TraceError(f"{value} is no number: type {name} and a number.") from error
        return numbered[name](number, **part)  # type: ignore[operator,no-any-return]
    if name == "from" and value:
        found = from_trace(value, **part)
        if found.source is not None:
            len(found.source)
        return found
    raise TraceError(f"There is no change {' '.join(words) or 'named'}: type zero, mean, scale, noise, set or from.")


def _positions(name: str, said: str) -> list[int]:
    try:
        return [int(one) for one in said.split(",")]
    except ValueError as error:
        raise TraceError(f"{name} {said} is no position: type whole numbers, as in {name} 0,2.") from error
