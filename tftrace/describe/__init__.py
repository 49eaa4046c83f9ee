"""Descriptions of a step as plain data: its row, source, equations and tensors.

The screen, the plain output and the exports share these descriptions. All texts from the trace have passed through
`text.visible`, except the lines of `Code`, where that would shift columns."""

from .attention_heads import (
    KeyAttention,
    attention_near,
    attention_steps,
    key_attention,
    layer_label,
    looks_across,
    mean_key_weights,
    sibling_attentions,
    strongest_cell,
)
from .attention_substeps import SubStep, SubStepTensor, attention_of, brief_formula, numbered_line, substeps
from .axes import TOKENS, axes, tokens_along
from .charts import Histogram, bars, histogram, kept_values, shrink, take_plane, tall_bars
from .code import Code, bound_values, code, values
from .derivation import Addend, Derivation, derive, derive_weight
from .equations import StepEquation, TensorSymbol, equations, symbols_of_tensors
from .forward_answers import (
    ForwardAnswer,
    NextToken,
    answer_as_data,
    answer_bars,
    answer_of_text,
    answer_sentence,
    forward_answers,
    text_count,
    text_title,
)
from .nan_sentences import nan_cause, nan_lines, nan_sentence, nan_title, nan_word
from .phrases import LANGUAGES, MARKS, ROLE_MARKS, integer, wrapped
from .plane import Plane, default_plane, parse_plane
from .run_summary import about, answers, first_wrong, forward_count, missing, mode, told_fact, totals
from .series import Series, along_forwards, along_layers
from .step_row import Row, class_of_module, path, place, row, span, statement, verdict
from .tensor_rows import TensorLine, tensors

__all__ = [
    "LANGUAGES",
    "MARKS",
    "ROLE_MARKS",
    "TOKENS",
    "Addend",
    "Code",
    "Derivation",
    "ForwardAnswer",
    "Histogram",
    "KeyAttention",
    "NextToken",
    "Plane",
    "Row",
    "Series",
    "StepEquation",
    "SubStep",
    "SubStepTensor",
    "TensorLine",
    "TensorSymbol",
    "about",
    "along_forwards",
    "along_layers",
    "answer_as_data",
    "answer_bars",
    "answer_of_text",
    "answer_sentence",
    "answers",
    "attention_near",
    "attention_of",
    "attention_steps",
    "axes",
    "bars",
    "bound_values",
    "brief_formula",
    "class_of_module",
    "code",
    "default_plane",
    "derive",
    "derive_weight",
    "equations",
    "first_wrong",
    "forward_answers",
    "forward_count",
    "histogram",
    "integer",
    "kept_values",
    "key_attention",
    "layer_label",
    "looks_across",
    "mean_key_weights",
    "missing",
    "mode",
    "nan_cause",
    "nan_lines",
    "nan_sentence",
    "nan_title",
    "nan_word",
    "numbered_line",
    "parse_plane",
    "path",
    "place",
    "row",
    "shrink",
    "sibling_attentions",
    "span",
    "statement",
    "strongest_cell",
    "substeps",
    "symbols_of_tensors",
    "take_plane",
    "tall_bars",
    "tensors",
    "text_count",
    "text_title",
    "tokens_along",
    "told_fact",
    "totals",
    "values",
    "verdict",
    "wrapped",
]
