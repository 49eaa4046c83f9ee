"""Watches calls, lines, operations and gradients while a model runs."""
