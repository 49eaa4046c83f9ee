"""Actions on the tree: moving, folds, search, filter, breakpoints and notes."""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from contextlib import suppress
from dataclasses import replace

import numpy as np
from textual import events

from .. import describe
from ..errors import TraceError
from ..language import tr
from ..language.retell import retold
from ..navigate import breakpoints, findings, siblings, stepping
from ..navigate.breakpoints import Breakpoint, Breakpoints
from ..navigate.nonfinite import origins
from ..navigate.outline import Outline
from ..text import visible
from ..trace import notes
from .dialogs.prompt import Prompt, Question
from .panes.sourcepane import SourcePane
from .panes.stopspane import PROBLEMS, StopsPane
from .statusline import StatusLine
from .trying_actions import TryingApp


class NavigatingApp(TryingApp):
    """The part of the app that moves the current step and holds matches, breakpoints and folds."""

    def __init__(self) -> None:
        super().__init__()
        self.outline = Outline(self.trace)
        self.breakpoints = Breakpoints(self.trace)
        self.halts: np.ndarray | None = None  # positions where `continue` halts; None before the first breakpoint
        self.broken_at = np.zeros(0, np.int64)
        self.notes: dict[int, str] = {}
        self.matches: list[int] = []
        self._searched, self._filtered = "", ""

    # -- moving ---------------------------------------------------------------------------------------

    def halts_changed(self) -> None:
        """Update the positions where `continue` halts."""
        self.halts, self.broken_at = self.breakpoints.halts, self.breakpoints.marked
        self.go(self.position, follow=False)

    def action_step(self, name: str) -> None:
        step = getattr(stepping, name)
        at = (self.halts,) if name in ("continue_", "back_continue") else ()
        self.go(step(self.trace, self.position, *at))
        made = origins(self.trace).of(self.position) if at else []
        if made:
            self.say(describe.nan_sentence(made[0]))

    def action_place(self, name: str) -> None:
        there = getattr(siblings, name)(self.trace, self.position)
        if there == self.position:
            words = {"same": "call of this", "layer": "layer", "token": "forward pass"}
            direction, _, kind = name.partition("_")
            return self.say(f"There is no {words[kind]} {'after' if direction == 'next' else 'before'} this step.")
        self.jump(there)

    def action_move(self, rows: int) -> None:
        self.go(self.outline.position(self.outline.row(self.position) + rows))

    def action_first(self) -> None:
        self.go(self.outline.position(0))

    def action_last(self) -> None:
        self.go(self.outline.position(len(self.outline) - 1))

    def action_parent(self) -> None:
        above = self.trace.parent(self.position)
        self.go(self.position if above is None else above)

    def action_child(self) -> None:
        inside = int(self.trace.ends[self.position]) > self.position + 1
        self.go(self.position + 1 if inside else self.position)

    def action_run_to(self) -> None:
        """Go to the next run of the line under the cursor of the source pane."""
        pane = self.query_one(SourcePane)
        place = pane.cursor
        if place is None:
            return self.say("t runs to a source line: press 2 and choose one with the arrows, or click on it.")
        there = siblings.run_to(self.trace, self.position, *place)
        if there is None:
            return self.say(f"Line {place[1]} never ran, or the trace was recorded without its lines.")
        back = there <= self.position
        self.jump(there)
        if back:
            self.say(f"Line {place[1]} does not run again after that step: this is its last run before.")

    # -- folds ----------------------------------------------------------------------------------------

    def fold(self, position: int) -> None:
        """Fold or unfold a call; for a line, the call around it."""
        call = position if self.outline.foldable(position) else self.trace.call_of(position)
        folded = self.outline.is_folded(call)
        self.outline.fold([call], not folded)
        inside = call < self.position < int(self.trace.ends[call])
        self.go(call if inside and not folded else self.position, follow=False)

    def action_fold(self) -> None:
        self.fold(self.position)

    def action_fold_or_parent(self) -> None:
        if self.outline.foldable(self.position) and not self.outline.is_folded(self.position):
            self.fold(self.position)
        else:
            self.action_parent()

    def action_unfold_or_child(self) -> None:
        if self.outline.is_folded(self.position):
            self.fold(self.position)
        else:
            self.action_child()

    def action_fold_all(self) -> None:
        if self.outline.folded:
            self.outline.unfold_all()
        else:
            self.outline.fold_all(but=self.position)
        self.go(self.position)

    # -- searching ------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Send every key to the prompt while it is open."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded and self.screen_stack:
            for line in self.screen.query(StatusLine):
                line.sentence = ""
            prompts = self.screen.query(Prompt)
            if prompts and prompts.first().is_open:
                if not prompts.first().key(event):
                    self.screen.remove_class("asking")
                return None
        await super().on_event(event)

    def ask(self, question: Question, text: str = "") -> None:
        """Open the prompt with a question."""
        self.screen.add_class("asking")
        self.query_one(Prompt).open(question, text)

    def action_search(self) -> None:
        origin, kept = self.position, (self._searched, self.matches)

        def typed(text: str) -> str:
            self._searched = text
            try:
                found = np.flatnonzero(stepping.matching(self.trace, text)).tolist() if text.strip() else []
            except TraceError as error:
                return str(error).partition(":")[0]
            self.matches = found
            at = bisect_left(found, origin)
            ahead = found[at:] or found
            self.go(ahead[0] if ahead else origin)
            return self.match_count() if text else ""

        def cancelled() -> None:
            self._searched, self.matches = kept
            self.go(origin)

        def done(text: str) -> str:
            self.go(self.position)
            return ""

        self.ask(
            Question("/", "name, class, equation, source text, or a condition such as nan > 0", done, typed, cancelled)
        )

    def forget_search(self) -> None:
        """Search for nothing any more."""
        self._searched, self.matches = "", []

    def search_again(self) -> None:
        """Repeat search and filter after the trace has grown."""
        for text in filter(None, (self._searched.strip(), self._filtered)):
            with suppress(TraceError):
                found = stepping.matching(self.trace, text)
                if text == self._filtered and found.any():
                    self.outline.filter(found)
                if text == self._searched.strip():
                    self.matches = np.flatnonzero(found).tolist()

    def action_match(self, direction: int) -> None:
        matches = self.matches
        if not matches:
            return self.say("Nothing is searched for: type / and a text.")
        if direction > 0:
            at = bisect_right(matches, self.position) % len(matches)
        else:
            at = bisect_left(matches, self.position) - 1
        self.go(matches[at])

    @property
    def search_text(self) -> str:
        """The search and its current match: `/linear  2 of 4`; empty without a search."""
        return f"/{visible(self._searched)}  {retold(self.match_count())}" if self._searched else ""

    def match_count(self) -> str:
        """The place of the current step among the matches: `2 of 4`."""
        if not self.matches:
            return "no match"
        at = bisect_left(self.matches, self.position)
        here = at < len(self.matches) and self.matches[at] == self.position
        return tr("{at} of {all}", at=at + 1 if here else "–", all=len(self.matches))

    # -- filtering ------------------------------------------------------------------------------------

    @property
    def filter_text(self) -> str:
        """The text of the filter, empty without a filter."""
        return visible(self._filtered)

    def action_filter(self) -> None:
        origin, kept = self.position, self._filtered

        def typed(text: str) -> str:
            try:
                return self.filter(text, origin)
            except TraceError as error:
                return str(error).partition(":")[0]

        def done(text: str) -> str:
            try:
                self.filter(text, origin)
            except TraceError as error:
                return str(error)
            return ""

        def cancelled() -> None:
            self.filter(kept, origin)

        hint = "only steps with this name, class, equation, verdict or condition"
        self.ask(Question("&", hint, done, typed, cancelled), kept)

    def filter(self, text: str, origin: int) -> str:
        """Show only matching steps, and go to the first match from `origin` on.

        Returns:
            The number of matches as text.
        """
        wanted = stepping.matching(self.trace, text) if text.strip() else None
        self._filtered = text.strip()
        if wanted is not None and not wanted.any():
            self.outline.filter(None)
            self.go(origin)
            return "no match"
        self.outline.filter(wanted)
        position = origin
        if wanted is not None and not wanted[origin]:
            ahead = np.flatnonzero(wanted[origin:])
            position = origin + int(ahead[0]) if len(ahead) else int(np.flatnonzero(wanted)[-1])
        self.go(position)
        return "" if wanted is None else f"{int(wanted.sum())} steps"

    def leave_filter(self) -> bool:
        """Remove the filter; return whether there was one."""
        if not self._filtered:
            return False
        self.filter("", self.position)
        return True

    # -- breakpoints ----------------------------------------------------------------------------------

    def _breakpoint_here(self) -> Breakpoint:
        place = self.query_one(SourcePane).cursor
        if place is not None:
            return Breakpoint(breakpoints.line_pattern(*place))
        return breakpoints.breakpoint_at(self.trace, self.position)

    def action_breakpoint(self) -> None:
        """Set a breakpoint on this step, or remove those with its pattern."""
        self.toggle_breakpoint(self._breakpoint_here())

    def toggle_breakpoint(self, one: Breakpoint) -> None:
        """Set a breakpoint, or remove those with its pattern."""
        self.breakpoints.toggle(one)
        self.halts_changed()

    def action_condition(self) -> None:
        """Edit the chosen breakpoint of the list, or that of this step; without one, type a new one."""
        stops = self.query_one(StopsPane)
        if stops.has_focus and stops.chosen_breakpoint is not None:
            return self.edit_breakpoint(self.breakpoints.all[stops.chosen_breakpoint])
        here = self._breakpoint_here().pattern
        self.edit_breakpoint(next((one for one in self.breakpoints.all if one.pattern == here), None))

    def edit_breakpoint(self, old: Breakpoint | None) -> None:
        """Let the user edit `old`, or type a new breakpoint."""

        def typed(text: str) -> str:
            try:
                found = int(breakpoints.matching_steps(self.trace, breakpoints.parse_breakpoint(text)).sum())
            except TraceError as error:
                return str(error).partition(":")[0]
            return f"{found} step{'s' if found != 1 else ''}"

        def done(text: str) -> str:
            try:
                new = breakpoints.parse_breakpoint(text) if text.strip() else None
            except TraceError as error:
                return str(error)
            self.breakpoints.replace(old, new)
            self.halts_changed()
            if old is None and new is not None:
                self.say(tr("Breakpoint set at {where}; c goes to the next place that fits.", where=new))
            return ""

        hint = tr("such as: *.attention when max > 1e3   or: when nan > 0   or: modeling_bert.py:175 hit 3")
        self.ask(
            Question(tr("break at") + " ", hint, done, typed, lambda: self.go(self.position)), str(old) if old else ""
        )

    def on_stops_pane_asked(self, event: StopsPane.Asked) -> None:
        """Handle a request of the list of stops."""
        one, stops = self.breakpoints.all[event.row] if event.row >= 0 else None, self.breakpoints
        if event.what == "next":
            found = findings.wrong if event.row == PROBLEMS else findings.designed
            positions = found(self.trace) if one is None else stops.positions(one)
            if not len(positions):
                return self.say("Nothing went wrong in this trace." if one is None else f"No step fits {one}.")
            ahead = positions[positions > self.position]
            return self.jump(int(ahead[0] if len(ahead) else positions[0]))
        if one is not None:
            stops.replace(one, replace(one, on=not one.on) if event.what == "switch" else None)
        elif event.row == PROBLEMS:
            stops.wrong = not stops.wrong if event.what == "switch" else False
        else:
            stops.designed = not stops.designed if event.what == "switch" else False
        self.halts_changed()

    # -- notes ----------------------------------------------------------------------------------------

    def read_notes(self) -> None:
        """Read the notes of the trace; a warning is shown to the user."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.notes = notes.read(self.trace)
        if caught:
            self.say(str(caught[0].message))

    def action_note(self) -> None:
        position = self.position

        def done(text: str) -> str:
            try:
                notes.write(self.trace, position, text)
            except TraceError as error:
                return str(error)
            self.read_notes()
            self.go(position)
            return ""

        self.ask(Question("note ", "what was found here; it is kept in the trace", done), self.notes.get(position, ""))
