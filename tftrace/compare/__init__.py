"""Two runs side by side: which step of one does what which step of the other does, and what differs between them."""

from .differences import COMPARED, Difference, differences
from .roles import Role, roles
from .step_pairs import Pair, align

__all__ = ["COMPARED", "Difference", "Pair", "Role", "align", "differences", "roles"]
