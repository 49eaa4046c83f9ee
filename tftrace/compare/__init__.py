"""Comparison of two runs: the first difference that rounding does not explain; and their steps paired by role."""

from .alignment.meeting import Chosen
from .alignment.side import Side, TraceSide
from .compare_runs import compare_runs
from .comparison import BornDifference, Comparison, Place, TensorPair, Unpaired
from .differences import COMPARED, Difference, differences
from .dump_side import DumpSide
from .foreign_dump import is_dump, read_dump
from .roles import Role, roles
from .sentences import place as where
from .sentences import prerequisite
from .step_pairs import Pair, align

__all__ = [
    "COMPARED",
    "BornDifference",
    "Chosen",
    "Comparison",
    "Difference",
    "DumpSide",
    "Pair",
    "Place",
    "Role",
    "Side",
    "TensorPair",
    "TraceSide",
    "Unpaired",
    "align",
    "compare_runs",
    "differences",
    "is_dump",
    "prerequisite",
    "read_dump",
    "roles",
    "where",
]
