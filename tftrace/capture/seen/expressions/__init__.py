"""Expressions on the tape: products, linear maps, activations, means and roots, however they were written."""
