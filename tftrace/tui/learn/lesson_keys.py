"""The keys of lessons, which stand before those of the debugger."""

from __future__ import annotations

from ...language import later
from ..keymap import KEYMAP, Key

LESSON_KEYS: tuple[Key, ...] = (
    Key("w", "w", "station(1)", later("the next station of the lesson")),
    Key("W", "W", "station(-1)", later("the station before")),
    Key("A", "A", "answer", later("answer the question")),
    Key("H", "H", "hint", later("a hint; once more shows the answer")),
    Key("X", "X", "do", later("do it: record and compare, show side by side, or check what you wrote")),
    Key("V", "V", "see", later("see what came of it: both runs side by side, or the run of your file")),
    Key("O", "O", "write", later("open the file that you write in $EDITOR")),
    Key("6", "6", "lesson", later("the lesson larger, and small again")),
)
LESSON_KEYMAP: dict[str, tuple[Key, ...]] = {
    later("Lesson"): LESSON_KEYS,
    **{group: keys for group, keys in KEYMAP.items() if group != "Walk"},
}
