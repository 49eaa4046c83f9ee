"""Where NaN and Inf of a run were made, why, and what they reached: pure functions of a trace, without torch."""

from .origins import CAUSES, Origin, Origins, Where, origins

__all__ = ["CAUSES", "Origin", "Origins", "Where", "origins"]
