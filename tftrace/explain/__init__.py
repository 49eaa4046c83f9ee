"""Explanations of single numbers of a run, and attention weights that fused kernels do not return."""
