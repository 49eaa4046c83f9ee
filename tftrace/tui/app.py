"""The application: one position in a trace, four panes that show it, keys that move it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from .. import describe, stepping
from ..errors import TraceError
from ..text import visible
from ..trace import Trace
from .equationpane import EquationPane
from .keymap import bindings
from .looking import LookingApp
from .overlays import SMALLEST, HelpScreen, TooSmall
from .palette import DARK, PALETTES
from .pane import Pane
from .searchbar import SearchBar
from .sourcepane import SourcePane
from .statusline import StatusLine
from .steps import StepsPane
from .tensorpane import TensorPane

_NARROW = 130  # columns below which equation and tensors stand one above the other


class TraceApp(LookingApp):
    """Step through `trace`, forwards and backwards, beside its source and its equations."""

    CSS_PATH = "app.tcss"
    TITLE = "tftrace"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(self, trace: Trace, language: str = "en") -> None:
        if not len(trace):
            raise TraceError(f"{trace.path} has no steps to walk through: record it again.")
        super().__init__()
        self.trace = trace
        self.language = language
        self.position = 0
        self._matches: list[int] = []
        self._searched = ""
        self._origin = 0
        self._kept: tuple[str, list[int]] = ("", [])
        for palette in PALETTES.values():
            self.register_theme(palette.theme())
        self.theme = DARK.name

    def compose(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield StepsPane(self.trace)
            with Vertical(id="right"):
                yield SourcePane(self.trace)
                with Horizontal(id="below"):
                    yield EquationPane(self.trace, self.language)
                    yield TensorPane(self.trace)
        yield StatusLine(self.trace)
        yield SearchBar()
        yield TooSmall()

    def on_mount(self) -> None:
        self._focus("steps")
        self.call_after_refresh(self.go, 0)

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.screen.set_class(width < _NARROW, "-narrow")
        self.screen.set_class(width < SMALLEST[0] or height < SMALLEST[1], "too-small")
        self.query_one(TooSmall).tell(width, height)
        self.call_after_refresh(self.go, self.position)

    def go(self, position: int, follow: bool = True) -> None:
        """Make `position` the current step."""
        self.position = max(0, min(position, len(self.trace) - 1))
        self.query_one(StepsPane).show(self.position, self._matches, follow)
        self.query_one(SourcePane).show(self.position)
        self.query_one(EquationPane).show(self.position)
        self.query_one(TensorPane).show(self.position)
        self.query_one(StatusLine).show(self.position, self._search_said())

    def on_steps_pane_chosen(self, event: StepsPane.Chosen) -> None:
        self.go(event.position, follow=False)

    # -- moving -------------------------------------------------------------------------------------

    def action_step(self, name: str) -> None:
        self.go(getattr(stepping, name)(self.trace, self.position))

    def action_move(self, rows: int) -> None:
        self.go(self.position + rows)

    def action_page(self, pages: int) -> None:
        self.go(self.position + pages * max(1, self.query_one(StepsPane).space.height - 1))

    def action_first(self) -> None:
        self.go(0)

    def action_last(self) -> None:
        self.go(len(self.trace) - 1)

    def action_parent(self) -> None:
        above = self.trace.parent(self.position)
        self.go(self.position if above is None else above)

    def action_child(self) -> None:
        inside = int(self.trace.ends[self.position]) > self.position + 1
        self.go(self.position + 1 if inside else self.position)

    # -- searching ----------------------------------------------------------------------------------

    def action_search(self) -> None:
        self._origin, self._kept = self.position, (self._searched, self._matches)
        self.screen.add_class("searching")
        self.query_one(SearchBar).open()

    async def on_event(self, event: events.Event) -> None:
        """While a search is typed, every key is the search's."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded and self.screen_stack:
            bars = self.screen.query(SearchBar)
            if bars and bars.first().is_open:
                return self._search_key(bars.first(), event)
        await super().on_event(event)

    def _search_key(self, bar: SearchBar, event: events.Key | events.Paste) -> None:
        if bar.edit(event):
            self._search_typed(bar)
        elif isinstance(event, events.Key) and event.key in ("enter", "escape", "ctrl+c"):
            if event.key != "enter":
                self._searched, self._matches = self._kept
                self.position = self._origin
            bar.close()
            self.screen.remove_class("searching")
            self.go(self.position)

    def _search_typed(self, bar: SearchBar) -> None:
        self._searched = bar.typed
        self._matches = stepping.search(self.trace, bar.typed) if bar.typed else []
        at = bisect_left(self._matches, self._origin)
        ahead = self._matches[at:] or self._matches
        self.go(ahead[0] if ahead else self._origin)
        bar.say(self._count_said() if bar.typed else "")

    def action_match(self, direction: int) -> None:
        matches = self._matches
        if not matches:
            return self.query_one(StatusLine).said("Nothing is searched for: type / and a text.")
        if direction > 0:
            at = bisect_right(matches, self.position) % len(matches)
        else:
            at = bisect_left(matches, self.position) - 1
        self.go(matches[at])

    def _search_said(self) -> str:
        return f"/{visible(self._searched)}  {self._count_said()}" if self._searched else ""

    def _count_said(self) -> str:
        if not self._matches:
            return "no match"
        at = bisect_left(self._matches, self.position)
        here = at < len(self._matches) and self._matches[at] == self.position
        return f"{at + 1 if here else '–'} of {len(self._matches)}"

    # -- looking --------------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        again = self.screen.focused is self.query_one(f"#{name}")
        filled = self.screen.has_class(f"only-{name}")
        self._clear_only()
        self.screen.set_class(again and not filled, f"only-{name}")
        self._focus(name)

    def action_all_panes(self) -> None:
        self._clear_only()
        self._focus("steps")

    def _focus(self, name: str) -> None:
        """At once: `Widget.focus` waits for its turn, and a quick second key would go to the wrong pane."""
        self.screen.set_focus(self.query_one(f"#{name}", Pane))

    def _clear_only(self) -> None:
        self.screen.remove_class("only-steps", "only-source", "only-equation", "only-tensors")

    def action_language(self) -> None:
        pane = self.query_one(EquationPane)
        languages = describe.LANGUAGES
        pane.language = languages[(languages.index(pane.language) + 1) % len(languages)]
        pane.show(self.position)

    def action_theme(self) -> None:
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.go(self.position)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While another screen lies over the panes, keys are that screen's."""
        return len(self.screen_stack) < 2

    def action_help(self) -> None:
        self.push_screen(HelpScreen())


def run(trace: Trace, language: str = "en") -> None:
    """Open the screen on a trace and stay until the user quits. Raises TraceError for a trace without steps."""
    TraceApp(trace, language).run()
