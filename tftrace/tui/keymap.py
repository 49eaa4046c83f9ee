"""Every key as data, from which the bindings, the help and the manual's table are made."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """One action: its keys in Textual's names, its keys as shown, the Textual action, and the help text."""

    keys: str
    shown: str
    action: str
    help: str


COMMON: tuple[Key, ...] = (  # they do the same on every screen
    Key("P", "P", "share", "share: a screenshot, the attention map or this step's card as SVG, PNG or HTML"),
    Key("L", "L", "language", "language: English or Chinese"),
    Key("T", "T", "theme", "theme: dark, light or high contrast"),
    Key("question_mark,f1", "?  F1", "help", "this help"),
    Key("q,ctrl+q,ctrl+c", "q", "quit", "quit"),
)

KEYMAP: dict[str, tuple[Key, ...]] = {
    "Step forward": (
        Key("s,f11", "s  F11", "step('into')", "into: the next step, whatever its depth"),
        Key("n,f10", "n  F10", "step('over')", "over: the next step that is not inside this one"),
        Key("f,shift+f11,f23", "f  ⇧F11", "step('out')", "out: until this call has returned"),
        Key("c,f5", "c  F5", "step('continue_')", "continue: to the next breakpoint, ✗, NaN, Inf or error"),
    ),
    "Step back": (
        Key("S", "S", "step('back_into')", "the reverse of s"),
        Key("N", "N", "step('back_over')", "the reverse of n"),
        Key("F", "F", "step('back_out')", "to where this call was entered"),
        Key("C", "C", "step('back_continue')", "to the stop before"),
    ),
    "Jump": (
        Key("right_square_bracket", "]", "place('next_same')", "the next call of this module, or run of this line"),
        Key("left_square_bracket", "[", "place('back_same')", "the one before"),
        Key("right_curly_bracket", "}", "place('next_layer')", "the same place one layer on"),
        Key("left_curly_bracket", "{", "place('back_layer')", "one layer back"),
        Key("right_parenthesis", ")", "place('next_token')", "the same place one forward pass (token) on"),
        Key("left_parenthesis", "(", "place('back_token')", "one forward pass back"),
        Key("t", "t", "run_to", "in pane 2: run to the line that ↑ ↓ or a click chose"),
    ),
    "Break": (
        Key("b,f9", "b  F9", "breakpoint", "set or take away a breakpoint on this step (pane 2: its line)"),
        Key("B", "B", "condition", "type one, with a condition: *.attention when max > 1e3 hit 3"),
        Key("5", "5", "pane('stops')", "stops: ⏎ goes to the next, ␣ on/off, ⌦ removes, B edits"),
        Key("m", "m", "note", "write a note on this step, kept in the trace"),
    ),
    "Move": (
        Key("j,down", "j  ↓", "move(1)", "one row down"),
        Key("k,up", "k  ↑", "move(-1)", "one row up"),
        Key("pagedown", "PgDn", "page(1)", "one page down"),
        Key("pageup", "PgUp", "page(-1)", "one page up"),
        Key("g,home", "g  Home", "first", "first step"),
        Key("G,end", "G  End", "last", "last step"),
        Key("u", "u", "parent", "the call around this step"),
        Key("d", "d", "child", "the first step inside this one"),
    ),
    "Fold": (
        Key("enter,space", "⏎  ␣", "fold", "fold or unfold this call"),
        Key("left", "←", "fold_or_parent", "fold; where there is nothing to fold, the call around"),
        Key("right", "→", "unfold_or_child", "unfold; where there is nothing to unfold, the first inside"),
        Key("z", "z", "fold_all", "fold all but the way to this step, or unfold all"),
        Key("r", "r", "bar", "the bar and the grid show time or L2 norms"),
        Key("l", "l", "grid", "layers × forward passes (tokens) as a grid, and back"),
    ),
    "Walk": (
        Key("w", "w", "walk(1)", "the next equation of a paper, in the order in which the model runs"),
        Key("W", "W", "walk(-1)", "the one before"),
    ),
    "Search": (
        Key("slash", "/", "search", "names, classes, equations, source, conditions (nan > 0)"),
        Key("full_stop", ".", "match(1)", "next match"),
        Key("comma", ",", "match(-1)", "previous match"),
        Key("ampersand", "&", "filter", "show only steps that fit, and what they stand in; Esc shows all"),
    ),
    "Tensors": (
        Key("tab", "Tab", "tensor(1)", "the next tensor of this step; its numbers stand below the table"),
        Key("shift+tab", "⇧Tab", "tensor(-1)", "the tensor before"),
        Key("p", "p", "producer", "to the step that made the chosen tensor; of a result, to what it was made from"),
        Key("o", "o", "consumers", "to the steps and lines that take it"),
        Key("backspace", "⌫", "jump_back", "back over the last jump"),
        Key("v", "v", "values", "the chosen tensor's numbers: heat map, table, slices by the names of axes"),
        Key("x", "x", "values", "the same; there and in attention maps x explains the cell under the cursor"),
        Key("i", "i", "substep(1)", "the five steps of attention; in pane 3 ↑ ↓ choose a line, ⏎ goes there"),
        Key("I", "I", "substep(-1)", "the one before"),
        Key("a", "a", "attention", "attention maps of the nearest attention"),
        Key(
            "exclamation_mark", "!", "try", "what if: change what this call returns (in maps: a head, a token, a cell)"
        ),
    ),
    "Look": (
        Key("1", "1", "pane('steps')", "steps: look there; once more fills the screen"),
        Key("2", "2", "pane('source')", "the source"),
        Key("3", "3", "pane('equation')", "equation"),
        Key("4", "4", "pane('tensors')", "tensors"),
        Key("e", "e", "edit", "this line in $EDITOR; what is installed opens read-only"),
        Key("escape", "Esc", "all_panes", "all panes and all steps, keys back to the steps"),
        Key("greater_than_sign", ">", "widen(1)", "the steps wider, so that whole lines can be read"),
        Key("less_than_sign", "<", "widen(-1)", "narrower again"),
        Key("E", "E", "export", "export: the trace as an HTML report, CSV, a diagram or another file"),
        Key("colon,ctrl+p", ":  ^P", "command_palette", "find a command by its words"),
        *COMMON,
    ),
}

SIGNS: dict[str, str] = {
    "✓ △ ✗ ·": "the equation holds, differs by design, differs by mistake, was not checked",
    "▾ ▸ ◦": "a call with recorded steps inside, folded, one without",
    "▶ • !": "the current step, a match of the search, a step that failed",
    "● ✎ ×": "a breakpoint, a note (after a name: what was changed on purpose), NaN or Inf",
    "┃ ╎": "lines that this call has run, and will run",
    "⇒": "what a line bound or a call returned: shape, mean μ, deviation σ, [min, max]",
    "→ θ = ← ∂": "input, parameter, local variable, output, gradient",
}

_SHARED = {
    "up",
    "down",
    "left",
    "right",
    "pageup",
    "pagedown",
    "home",
    "end",
    "enter",
    "space",
}  # the focused pane handles these first

HINTS = (("s into", "step('into')"), ("n over", "step('over')"), ("f out", "step('out')"),
         ("c continue", "step('continue_')"), ("b break", "breakpoint"), ("⇧ back", ""), ("/ search", "search"),
         ("? help", "help"))  # fmt: skip
MATCH_HINTS = ((", .", ""), ("/ search", "search"), ("? help", "help"))


def bindings(keymap: dict[str, tuple[Key, ...]] = KEYMAP) -> list[Binding]:
    """The Textual bindings of a keymap; all but the keys in `_SHARED` take priority over the focused pane."""
    return [
        Binding(one, key.action, key.help, show=False, priority=one not in _SHARED)
        for group in keymap.values()
        for key in group
        for one in key.keys.split(",")
    ]
