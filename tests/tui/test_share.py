"""The key P: the screen, the attention map and the card of a step as files in the current folder."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.tui import TraceApp
from tftrace.tui.dialogs.share_choice import ShareChoice
from tftrace.tui.share.attention_picture import attention_svg
from tftrace.tui.share.picture_files import save, to_png
from tftrace.tui.share.wide_letters import spread

from ..support.builders import attention_trace
from .test_app import play, press


def test_chinese_is_as_wide_in_a_picture_as_on_the_screen() -> None:
    run = '<text class="a" x="24.4" y="20" textLength="85.4" clip-path="url(#b)">头&#160;1的&lt;&#160;x</text>'
    parts = re.findall(r'x="([\d.]+)" y="20" textLength="([\d.]+)" clip-path="url\(#b\)">([^<]*)</text>', spread(run))
    assert parts == [
        ("24.4", "24.4", "头"), ("48.8", "24.4", "&#160;1"), ("73.2", "24.4", "的"), ("97.6", "36.6", "&lt;&#160;x")
    ]  # fmt: skip
    plain = run.replace("头", "a").replace("的", "b")
    assert spread(plain) == plain


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return attention_trace(tmp_path)


def test_what_is_chosen_is_written_and_nothing_is_replaced(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "toy-11-screen.svg").write_text("mine")
    said: list[str] = []

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
        app.go(11)
        await press(pilot, "P")
        assert isinstance(app.screen, ShareChoice)
        choices = [f"{one.what} {ending}" for one, ending in app.screen._choices]
        for wanted in ("this screen svg", "this screen html", "this step's card svg", "this step's card html"):
            for _ in range(choices.index(wanted)):
                await press(pilot, "down")
            await press(pilot, "enter")
            await app.workers.wait_for_complete()
            await press(pilot, "P")
        await press(pilot, "escape")

    play(trace, script)
    names = {path.name for path in here.iterdir()}
    assert names == {"toy-11-screen.svg", "toy-11-screen-2.svg", "toy-11-screen.html", "toy-11-card.svg",
                     "toy-11-card.html"}  # fmt: skip
    assert (here / "toy-11-screen.svg").read_text() == "mine"
    assert said[0] == f"Wrote toy-11-screen-2.svg into {here}"
    shown = (here / "toy-11-screen-2.svg").read_text()
    assert "attend" in shown and "Share:" not in shown  # the screen, without the dialog
    assert "attend" in (here / "toy-11-screen.html").read_text()
    assert "softmax" in re.sub(r"&#160;", " ", (here / "toy-11-card.svg").read_text())
    assert "<table" in (here / "toy-11-card.html").read_text()


def test_an_attention_map_has_its_tokens_on_both_axes() -> None:
    weights = np.tril(np.full((3, 3), 0.5))
    drawn = attention_svg(
        [("head 0", weights), ("head 1", weights)], ["<s>", "a\x1b[31m", "猫"], ["x", "y", "z"], "layer 0"
    )
    root = ElementTree.fromstring(drawn)  # well-formed, whatever the tokens are
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"layer 0", "head 0", "head 1", "<s>", "猫", "x", "y", "z"} <= set(texts)
    assert "\x1b" not in drawn
    assert len(list(root.iter("{http://www.w3.org/2000/svg}title"))) == 18  # a number behind every cell


def test_png_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(TraceError, match=r"pip install 'tftrace\[pictures\]'"):
        to_png("<svg/>")
    fake = types.ModuleType("resvg_py")
    fake.svg_to_bytes = lambda svg_string, **_: [*svg_string.encode()]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "resvg_py", fake)
    assert to_png("<svg/>") == b"<svg/>"


def test_a_name_stays_in_the_folder(tmp_path: Path) -> None:
    assert save("../../etc/x\x1b", "svg", b"1", tmp_path).parent == tmp_path
    (tmp_path / "a.svg").symlink_to(tmp_path / "nowhere")
    assert save("a", "svg", b"1", tmp_path).name == "a-2.svg"
    assert not (tmp_path / "nowhere").exists()
