"""Writes pictures into the current folder, under names that no file has yet, and makes PNG of SVG."""

from __future__ import annotations

import re
from functools import partial
from html import escape
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from ...errors import TraceError
from ...language import tr
from ...text import visible

_MOST = 10_000  # pictures of one name
_ZOOM = 2  # pixels of a PNG for one of the SVG


def save(name: str, ending: str, content: bytes, folder: Path | None = None) -> Path:
    """Write a file that was not there before: `name.svg`, else `name-2.svg` and so on.

    Args:
        name: What the file is called, without ending; what no file name can hold is left out.
        ending: `svg`, `png` or `html`.
        content: What is written.
        folder: The folder; the current one by default.

    Returns:
        The path of the file.

    Raises:
        TraceError: The folder cannot be written to.
    """
    from ...export.target import into_file

    stem = re.sub(r"[^\w.+-]+", "-", visible(name)).strip("-.") or "tftrace"
    for number in range(1, _MOST):
        path = (folder or Path.cwd()) / f"{stem[:120]}{f'-{number}' if number > 1 else ''}.{ending}"
        if path.exists() or path.is_symlink():
            continue
        into_file(path, partial(_put, content), overwrite=False)
        return path
    raise TraceError(tr("There are too many files called {name}: remove some of them.", name=stem))


def _put(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def to_png(svg: str) -> bytes:
    """Draw an SVG picture as PNG.

    Raises:
        TraceError: What draws it is not installed, or it cannot be drawn.
    """
    try:
        resvg = import_module("resvg_py")
    except ImportError:
        raise TraceError(tr("PNG needs resvg: pip install 'tftrace[pictures]'; SVG and HTML need nothing.")) from None
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched from the network
    svg = re.sub(r"font-family: ?Fira Code", "font-family: 'Fira Code', 'DejaVu Sans Mono', Menlo, Consolas", svg)
    try:
        return bytes(resvg.svg_to_bytes(svg_string=svg, zoom=_ZOOM, font_family="DejaVu Sans Mono"))
    except (ValueError, RuntimeError) as error:
        why = visible(str(error))
        raise TraceError(tr("The picture cannot be drawn as PNG: {why}; choose SVG instead.", why=why)) from error


def page(title: str, body: str) -> str:
    """An HTML page that loads nothing and runs nothing."""
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(visible(title))}</title><style>body{{font-family:system-ui,sans-serif;margin:2em}}"
        "pre{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;line-height:1.25}"
        "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
        f"</style></head><body>{body}</body></html>\n"
    )
