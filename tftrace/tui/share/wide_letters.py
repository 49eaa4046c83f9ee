"""Letters of two columns, such as Chinese, in the pictures that Rich draws.

Rich gives a run of text as many columns as it has characters, so that Chinese is squeezed into half of its room. Here
each run is taken apart where letters change their width, and each part gets the columns that it fills."""

from __future__ import annotations

import re
from html import escape, unescape
from itertools import groupby

from rich.cells import cell_len

_RUN = re.compile(r'<text ([^>]*?)x="([\d.]+)"([^>]*?)textLength="([\d.]+)"([^>]*)>([^<]*)</text>')


def spread(svg: str) -> str:
    """The picture with its wide letters as wide as on the screen."""
    return _RUN.sub(_spread, svg)


def _spread(run: re.Match[str]) -> str:
    text = unescape(run[6])
    if cell_len(text) == len(text):
        return run[0]
    column, x, out = float(run[4]) / len(text), float(run[2]), []
    for width, letters in groupby(text, cell_len):
        part = "".join(letters)
        cells = width * len(part)
        said = escape(part).replace(" ", "&#160;").replace("\xa0", "&#160;")
        size = f'textLength="{cells * column:g}"' if cells else ""
        out.append(f'<text {run[1]}x="{x:g}"{run[3]}{size}{run[5]}>{said}</text>')
        x += cells * column
    return "".join(out)
