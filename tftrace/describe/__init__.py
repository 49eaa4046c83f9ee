"""What is said about a step, as plain data: its row, its source, its equations, its tensors.

The screen and the plain output both draw from here, so that they say the same; every text that came from the
trace has been through `text.visible`, except the lines of `Code`, whose columns must stay true."""

from .attention_heads import Attended, alike, attended, attention_near, attention_steps, layer_label, looked_at
from .attention_substeps import Seen, SubStep, attention_of, line_of, substeps
from .axes import TOKENS, axes, tokens_along
from .charts import Histogram, bars, histogram, kept, plane, shrunk, tall_bars
from .code import Code, bound, code, values
from .derivation import Addend, Derivation, derive, derive_weight
from .equations import Equation, equations, ties
from .phrases import LANGUAGES, MARKS, ROLE_MARKS, integer, wrapped
from .plane import Plane, chosen, plane_of
from .run_summary import about, first_wrong, forward_count, missing, totals
from .series import Series, along_forwards, along_layers
from .step_row import Row, path, place, row, span, verdict
from .tensor_rows import Line, tensors

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
