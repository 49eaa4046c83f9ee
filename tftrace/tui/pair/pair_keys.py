"""The keys and signs of two runs side by side, as data."""

from __future__ import annotations

from ...compare.difference_map import MARKS
from ..keymap import COMMON, Key

PAIR_KEYMAP: dict[str, tuple[Key, ...]] = {
    "Move": (
        Key("n", "n", "differing(1)", "the next difference that is born (by role: the next that differs)"),
        Key("N", "N", "differing(-1)", "the one before"),
        Key("j,down,s", "j  ↓  s", "move(1)", "one pair down"),
        Key("k,up,S", "k  ↑  S", "move(-1)", "one pair up"),
        Key("pagedown", "PgDn", "move(20)", "one page down"),
        Key("pageup", "PgUp", "move(-20)", "one page up"),
        Key("g,home", "g  Home", "move(-99999)", "first pair"),
        Key("G,end", "G  End", "move(99999)", "last pair"),
        Key("c,f5", "c  F5", "stop(1)", "the next pair in which a breakpoint halts (--break, --when)"),
        Key("C", "C", "stop(-1)", "the one before"),
    ),
    "Look": (
        Key("l", "l", "map", "the difference as a map of layers × tokens, whose cursor the arrows move, and back"),
        Key("r", "r", "roles", "pair by role (attention beside attention), whatever the numbers, and back"),
        Key("1", "1", "open(0)", "step through the left run from here; q comes back"),
        Key("2", "2", "open(1)", "step through the right run"),
        *COMMON,
    ),
}

PAIR_SIGNS: dict[str, str] = {
    **MARKS,
    "◁ ▷": "only in the left run, only in the right, or not to be compared",
    "· ≠": "by role: same class, equation, sizes and parameters, or not; values are not compared",
    "░ ▒ ▓ █": "the size of a difference, from what rounding explains (·) to 1",
    "●": "a breakpoint halts here, in either run",
    "✓ △ ✗ ·": "the equation holds, differs by design, differs by mistake, was not checked",
}
