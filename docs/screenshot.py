"""Makes the README's pictures from the program itself: `python docs/screenshot.py`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["TEXTUAL_ANIMATIONS"] = "none"

from textual.app import App

from tftrace import Trace, load
from tftrace.cli import main
from tftrace.compare import TraceSide, align
from tftrace.describe import strongest_cell
from tftrace.explain.attention_weights import attention
from tftrace.tui.app import TraceApp
from tftrace.tui.pair.pairapp import PairApp

HERE = Path(__file__).parent
SIZE = (160, 48)
NORM = "layer 0 · norm of attention"
TEXT = "this is not a good film"


async def picture(app: App[Any], keys: Sequence[str], target: Path, title: str, height: int = SIZE[1]) -> None:
    """What a terminal shows after `keys`, once everything that is read has arrived."""
    async with app.run_test(size=(SIZE[0], height)) as pilot:
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.3)
            await app.workers.wait_for_complete()
        await pilot.pause(0.5)
        target.write_text(app.export_screenshot(title=title), encoding="utf-8")


def strongest_head(trace: Trace, position: int) -> int:
    """The head at which the maps of an attention open."""
    found = attention(trace, position)
    if found is None or found.probabilities is None:
        raise SystemExit("The demo's attention could not be rebuilt.")
    return strongest_cell(found.probabilities[0])[0]


def make(folder: str) -> None:
    """The debugger on the attention of the demo BERT, its attention maps, and BERT beside GPT-2."""
    bert, gpt2 = f"{folder}/bert.tftrace", f"{folder}/gpt2.tftrace"
    if main(["record", "demo:bert", "--text", TEXT, "-o", bert]) or main(["record", "demo:gpt2", "-o", gpt2]):
        raise SystemExit("The demos could not be recorded.")
    trace, other = load(bert), load(gpt2)
    position = next(step.position for step in trace if step.type.endswith("attention_forward"))
    app = TraceApp(trace, start=position)
    asyncio.run(picture(app, ["shift+tab"], HERE / "screenshot.svg", "tftrace demo bert"))
    app = TraceApp(trace, start=position)
    head = strongest_head(trace, position)
    keys = ["a", "pageup", "home", "right", "right", "right", *"h" * ((1 - head) % 4)]
    asyncio.run(picture(app, keys, HERE / "attention.svg", "tftrace demo bert: a", height=36))
    pair = PairApp(TraceSide(trace), TraceSide(other), ("bert.tftrace", "gpt2.tftrace"))
    keys = ["r", *"j" * next(at for at, one in enumerate(align(trace, other)) if one.label == NORM)]
    asyncio.run(picture(pair, keys, HERE / "pair.svg", "tftrace view bert.tftrace gpt2.tftrace: r", height=40))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(folder)
