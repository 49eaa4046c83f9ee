"""What is said about a step, as plain data: its row, its source, its equations, its tensors.

The screen and the plain output both draw from here, so that they say the same; every text that came from the
trace has been through `text.visible`, except the lines of `Code`, whose columns must stay true."""

from .axes import TOKENS, axes, tokens_along
from .base import LANGUAGES, MARKS, ROLE_MARKS, integer, wrapped
from .derive import Addend, Derivation, derive, derive_weight
from .heads import Attended, alike, attended, attention_near, attention_steps, layer_label, looked_at
from .numbers import Histogram, bars, histogram, kept, plane, shrunk, tall_bars
from .paper import Equation, equations, ties
from .run import about, first_wrong, forward_count, missing, totals
from .series import Series, along_forwards, along_layers
from .site import Code, bound, code, values
from .slices import Plane, chosen, plane_of
from .substeps import Seen, SubStep, attention_of, line_of, substeps
from .table import Line, tensors
from .tree import Row, path, place, row, span, verdict

__all__ = [
    "LANGUAGES",
    "MARKS",
    "ROLE_MARKS",
    "TOKENS",
    "Addend",
    "Attended",
    "Code",
    "Derivation",
    "Equation",
    "Histogram",
    "Line",
    "Plane",
    "Row",
    "Seen",
    "Series",
    "SubStep",
    "about",
    "alike",
    "along_forwards",
    "along_layers",
    "attended",
    "attention_near",
    "attention_of",
    "attention_steps",
    "axes",
    "bars",
    "bound",
    "chosen",
    "code",
    "derive",
    "derive_weight",
    "equations",
    "first_wrong",
    "forward_count",
    "histogram",
    "integer",
    "kept",
    "layer_label",
    "line_of",
    "looked_at",
    "missing",
    "path",
    "place",
    "plane",
    "plane_of",
    "row",
    "shrunk",
    "span",
    "substeps",
    "tall_bars",
    "tensors",
    "ties",
    "tokens_along",
    "totals",
    "values",
    "verdict",
    "wrapped",
]
