"""The kinds of variants of an equation, as recipes name them: the same words as in a trace.

Its schema needs Arrow, and recipes are read without it when tftrace is built."""

MISTAKE = "mistake"
DESIGN = "design"  # what other models do on purpose
