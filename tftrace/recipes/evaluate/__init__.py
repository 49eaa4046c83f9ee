"""Formulas evaluated in float64, with a bound on what rounding may have done to a run."""
