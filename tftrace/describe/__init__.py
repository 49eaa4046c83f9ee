"""What is said about a step, as plain data: its row, its source, its equations, its tensors.

The screen and the plain output both draw from here, so that they say the same; every text that came from the
trace has been through `text.visible`, except the lines of `Code`, whose columns must stay true."""

from .axes import axes, tokens_along
from .base import LANGUAGES, MARKS, ROLE_MARKS, integer, wrapped
from .numbers import Histogram, bars, histogram, kept, plane, shrunk, tall_bars
from .paper import Equation, equations, ties
from .run import about, forward_count, missing, totals
from .series import Series, along_forwards, along_layers
from .site import Code, code, values
from .table import Line, tensors
from .tree import Row, path, place, row, span, verdict

__all__ = [
    "LANGUAGES",
    "MARKS",
    "ROLE_MARKS",
    "Code",
    "Equation",
    "Histogram",
    "Line",
    "Row",
    "Series",
    "about",
    "along_forwards",
    "along_layers",
    "axes",
    "bars",
    "code",
    "equations",
    "forward_count",
    "histogram",
    "integer",
    "kept",
    "missing",
    "path",
    "place",
    "plane",
    "row",
    "shrunk",
    "span",
    "tall_bars",
    "tensors",
    "ties",
    "tokens_along",
    "totals",
    "values",
    "verdict",
    "wrapped",
]
