"""Pictures of the screen, compared with those in `tests/tui/snapshots`.

Where one was meant to change: run `TFTRACE_SNAPSHOTS=write python -m pytest tests/tui/test_snapshots.py`, and look."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tftrace.tui import TraceApp

from ..support.builders import attention_trace
from .test_app import play, press

FOLDER = Path(__file__).parent / "snapshots"


def normal(svg: str) -> str:
    """Without what differs from run to run: the number that Rich makes up for its styles, and where its fonts lie."""
    svg = re.sub(r"terminal-\d+-", "terminal-", svg)
    return re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("tree", ("s", "s", "s", "s", "b", "enter", "j", "1")),
        ("filtered", ("ampersand", *"linear", "enter", "1")),
        ("grid", ("l", "right", "r")),
    ],
)
def test_the_screen_looks_as_it_did(tmp_path: Path, name: str, keys: tuple[str, ...]) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *keys)
        app.screen.set_class(True, "only-steps")  # what other panes show is theirs to test
        await press(pilot)
        shown.append(normal(app.export_screenshot(title=name)))

    shown: list[str] = []
    play(attention_trace(tmp_path, forwards=2), script, size=(100, 30))
    file = FOLDER / f"{name}.svg"
    if os.environ.get("TFTRACE_SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        file.write_text(shown[0], encoding="utf-8")
    assert shown[0] == file.read_text(encoding="utf-8"), f"{file} is another picture: see the top of this file"
