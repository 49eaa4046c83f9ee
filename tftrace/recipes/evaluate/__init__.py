"""Evaluates formulas in float64, with a bound on the rounding error of the recorded run."""
