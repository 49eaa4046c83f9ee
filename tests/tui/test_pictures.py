"""Maps as true images, in a terminal that is said to support them."""

from __future__ import annotations

import io
import os
import re
from base64 import b64decode
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.tui import TraceApp
from tftrace.tui.paint import pictures
from tftrace.tui.paint.heatmap import rgb
from tftrace.tui.paint.palette import DARK

from .test_app import play, press
from .test_tensors import find, ready

pytest.importorskip("textual_image", reason="the extra `pictures`")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TFTRACE_PICTURES", request.param)
    pictures.protocol.cache_clear()
    yield request.param
    pictures.protocol.cache_clear()


def sent(app: TraceApp) -> list[str]:
    """What goes to the terminal beside text."""
    return [one.text for strip in app.screen._compositor.render_strips() for one in strip if one.control]


@pytest.mark.parametrize("terminal", [pictures.SIXEL, pictures.KITTY], indirect=True)
def test_each_head_is_a_picture_while_nothing_lies_over_it(film: Trace, terminal: str) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "a")
        await ready(app, pilot)
        start = "\x1bP" if terminal == pictures.SIXEL else "\x1b_G"
        assert len(sent(app)) == 4 and all(start in one for one in sent(app))
        assert all(strip.cell_length == 160 for strip in app.screen._compositor.render_strips())
        await press(pilot, "x")
        await ready(app, pilot)
        assert not sent(app)
        await press(pilot, "escape")
        assert len(sent(app)) == 4
        await press(pilot, "escape")
        assert not sent(app)

    play(film, script)


@pytest.mark.parametrize("terminal", [pictures.KITTY], indirect=True)
def test_the_plane_of_a_tensor_is_a_picture_of_its_values(film: Trace, terminal: str) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        at = find(film, "attention_forward")
        app.go(at)
        await press(pilot, "tab", "v")
        await ready(app, pilot)
        (one,) = sent(app)
        said = "".join(re.findall(r"\x1b_G[^;]*f=100[^;]*;([^\x1b]*)", one))
        drawn = np.asarray(Image.open(io.BytesIO(b64decode(said))).convert("RGB"))
        values = film.value(at, "query")[0, 0]
        share = values / np.abs(values).max()
        wanted = rgb(np.sign(share) * np.sqrt(np.abs(share)), DARK.name).astype(int)
        height, width = (size // count for size, count in zip(drawn.shape, values.shape, strict=False))
        seen = drawn[height // 2 :: height, width // 2 :: width].astype(int)
        assert seen.shape == wanted.shape and np.abs(seen - wanted).max() <= 16  # a step of the scale

    play(film, script)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "sixel"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "xterm-kitty", "TMUX": "1"}, ""),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, ""),
        ({"TERM": "xterm-kitty", "TEXTUAL_DRIVER": "web"}, ""),
        ({"TERM": "xterm-kitty", "TFTRACE_PICTURES": "no"}, ""),
    ],
)
def test_a_terminal_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, named: dict[str, str], expected: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in [name for name in os.environ if name.startswith(("T", "NO_COLOR", "KONSOLE", "WT_", "STY"))]:
        monkeypatch.delenv(name)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.__stdout__", Terminal())
    pictures.protocol.cache_clear()
    assert pictures.protocol() == expected
    pictures.protocol.cache_clear()
