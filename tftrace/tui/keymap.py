"""Every key of the screen as data: the bindings, the help and the manual's table are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """One action: the keys as Textual names them, as people read them, and what they do."""

    keys: str
    shown: str
    action: str
    help: str


KEYMAP: dict[str, tuple[Key, ...]] = {
    "Step forward": (
        Key("s,f11", "s  F11", "step('into')", "into: the next step, whatever its depth"),
        Key("n,f10", "n  F10", "step('over')", "over: the next step that is not inside this one"),
        Key("f,shift+f11,f23", "f  ⇧F11", "step('out')", "out: until this call has returned"),
        Key("c,f5", "c  F5", "step('continue_')", "continue: to the next ✗, NaN, Inf, error or forward pass"),
    ),
    "Step back": (
        Key("S", "S", "step('back_into')", "the reverse of s"),
        Key("N", "N", "step('back_over')", "the reverse of n"),
        Key("F", "F", "step('back_out')", "to where this call was entered"),
        Key("C", "C", "step('back_continue')", "to the stop before"),
    ),
    "Move": (
        Key("j,down", "j  ↓", "move(1)", "one row down"),
        Key("k,up", "k  ↑", "move(-1)", "one row up"),
        Key("pagedown", "PgDn", "page(1)", "one page down"),
        Key("pageup", "PgUp", "page(-1)", "one page up"),
        Key("g,home", "g  Home", "first", "first step"),
        Key("G,end", "G  End", "last", "last step"),
        Key("u,left", "u  ←", "parent", "the call around this step"),
        Key("d,right", "d  →", "child", "the first step inside this one"),
    ),
    "Search": (
        Key("slash", "/", "search", "names, classes, equations, source lines; Enter keeps, Esc leaves"),
        Key("full_stop", ".", "match(1)", "next match"),
        Key("comma", ",", "match(-1)", "previous match"),
    ),
    "Tensors": (
        Key("tab", "Tab", "tensor(1)", "the next tensor of this step; its numbers stand below the table"),
        Key("shift+tab", "⇧Tab", "tensor(-1)", "the tensor before"),
        Key("p", "p", "producer", "to the step that made the chosen tensor"),
        Key("o", "o", "consumers", "to the steps that take it"),
        Key("backspace", "⌫", "jump_back", "back over the last jump"),
        Key("v", "v", "values", "the chosen tensor's numbers: heat map, table, slices by the names of axes"),
        Key("i", "i", "substep(1)", "the five steps of attention, one by one; Enter in pane 3 goes to its line"),
        Key("I", "I", "substep(-1)", "the one before"),
        Key("a", "a", "attention", "attention maps of the nearest attention"),
    ),
    "Look": (
        Key("1", "1", "pane('steps')", "steps: look there; once more fills the screen"),
        Key("2", "2", "pane('source')", "source"),
        Key("3", "3", "pane('equation')", "equation"),
        Key("4", "4", "pane('tensors')", "tensors"),
        Key("escape", "Esc", "all_panes", "all four panes, keys back to the steps"),
        Key("L", "L", "language", "notes in English or Chinese"),
        Key("T", "T", "theme", "dark, light or high contrast"),
        Key("question_mark,f1", "?  F1", "help", "this help"),
        Key("q,ctrl+q,ctrl+c", "q", "quit", "quit"),
    ),
}

SIGNS: dict[str, str] = {
    "✓ ✗ ·": "the equation holds, differs, was not checked",
    "▾ ◦": "a call with recorded steps inside, one without",
    "▶ • !": "the current step, a match of the search, a step that failed",
    "┃ ╎": "lines that this call has run, and will run",
    "⇒": "what a line bound or a call returned: shape, mean μ, deviation σ, [min, max]",
    "→ θ = ←": "input, parameter, local variable, output",
}

_SCROLLING = {"up", "down", "left", "right", "pageup", "pagedown", "home", "end"}  # the focused pane has them first

HINTS = "s into  n over  f out  c continue  ⇧ back  / search  ? help"


def bindings() -> list[Binding]:
    """The keymap as Textual wants it."""
    return [
        Binding(one, key.action, key.help, show=False, priority=one not in _SCROLLING)
        for group in KEYMAP.values()
        for key in group
        for one in key.keys.split(",")
    ]
