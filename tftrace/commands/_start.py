"""What `tftrace` alone does: the start screen in a terminal, and a few lines on what to type elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..language import later, spoken, tr
from ..terminal import on_screen, say, tell

_FIRST = (
    ("tftrace learn", later("lessons in the debugger, on models that come with tftrace")),
    ("tftrace demo", later("record a small BERT, and step through it")),
    ('tftrace record bert-base-uncased --text "…"', later("record a model of Hugging Face, or a folder")),
    ("tftrace view run.tftrace", later("step through what was recorded")),
    ("tftrace compare one.tftrace two.tftrace", later("where two runs part")),
    ("tftrace --help", later("every command")),
)


def start(run: Callable[[list[str]], int]) -> int:
    """Open the start screen, and run what is chosen, until the user leaves; without a terminal say what to type.

    Args:
        run: what runs the words of a command line and returns its exit code.
    """
    if not on_screen():
        wide = max(len(command) for command, _ in _FIRST)
        tell(*(f"{command:{wide}}  {tr(about)}" for command, about in _FIRST))
        return 0
    from ..learn.lesson_titles import lesson_titles
    from ..tui.paint.chosen_theme import load_theme
    from ..tui.start.recent_traces import recent_traces
    from ..tui.start.startapp import StartApp

    while True:
        words = StartApp(lesson_titles(), recent_traces(), load_theme()).run()
        if words is None:
            return 0
        code = _record_and_view(words, run) if words[0] == "record" else run(["--lang", spoken(), *words])
        if code:
            say(tr("Press Enter to come back to the start."))
            sys.stdin.readline()


def _record_and_view(words: list[str], run: Callable[[list[str]], int]) -> int:
    """Record a model, and open the trace."""
    from ._shared import free_name

    if "-o" in words or "--output" in words or len(words) < 2:
        return run(["--lang", spoken(), *words])
    path = str(free_name(words[1]))
    code = run(["--lang", spoken(), *words, "-o", path])
    return code or run(["--lang", spoken(), "view", path])
