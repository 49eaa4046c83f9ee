"""Small models that make NaN or Inf, each in one known line; and some whose -Inf is meant."""

from . import carried_in, harmless, masked_rows, overflow, several, undefined  # which fill CASES
from .cases import CASES, Broken

__all__ = ["CASES", "Broken", "carried_in", "harmless", "masked_rows", "overflow", "several", "undefined"]
