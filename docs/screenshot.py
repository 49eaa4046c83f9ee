"""Makes the README's picture from the program itself: `python docs/screenshot.py`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tftrace import load
from tftrace.cli import main
from tftrace.tui.app import TraceApp

HERE = Path(__file__).parent


async def picture(trace_path: str, target: Path) -> None:
    """The attention of the first layer, as a terminal of 160 by 48 shows it."""
    trace = load(trace_path)
    app = TraceApp(trace)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        app.go(next(s.position for s in trace if s.type.endswith("attention_forward")))
        await pilot.pause()
        target.write_text(app.export_screenshot(title="tftrace demo"), encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/bert.tftrace"
        if main(["record", "demo:bert", "-o", path]) == 0:
            asyncio.run(picture(path, HERE / "screenshot.svg"))
