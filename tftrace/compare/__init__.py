"""Comparison of two runs: their steps paired by role, and the differences within each pair."""

from .differences import COMPARED, Difference, differences
from .roles import Role, roles
from .step_pairs import Pair, align

__all__ = ["COMPARED", "Difference", "Pair", "Role", "align", "differences", "roles"]
