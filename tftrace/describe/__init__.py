"""What is said about a step, as plain data: its row, its source, its equations, its tensors.

The screen and the plain output both draw from here, so that they say the same; every text that came from the
trace has been through `text.visible`, except the lines of `Code`, whose columns must stay true."""

from .base import LANGUAGES, MARKS, ROLE_MARKS, integer, wrapped
from .paper import Equation, equations
from .run import about, forward_count, missing, totals
from .site import Code, code, values
from .table import Line, tensors
from .tree import Row, path, place, row, span, verdict

__all__ = [
    "LANGUAGES",
    "MARKS",
    "ROLE_MARKS",
    "Code",
    "Equation",
    "Line",
    "Row",
    "about",
    "code",
    "equations",
    "forward_count",
    "integer",
    "missing",
    "path",
    "place",
    "row",
    "span",
    "tensors",
    "totals",
    "values",
    "verdict",
    "wrapped",
]
