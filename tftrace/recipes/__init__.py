"""Equations of papers as data: the recipe format, its formula language, and the check against a run."""
